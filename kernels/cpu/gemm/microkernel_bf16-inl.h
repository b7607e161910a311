// The register tile of products of bf16: C[MR, NV vectors] (+)= A panel * B sliver, sums in f32 and all in registers.
//
// Depths are taken in pairs. A 32-bit lane of B holds two neighbouring depths of a column, the first in its lower half;
// of a row of A two neighbours are one 32-bit broadcast. AVX-512 BF16 has an instruction for it, vdpbf16ps: sum +=
// a.first * b.first + a.second * b.second in each lane. Elsewhere the halves are widened and multiplied one after the
// other. Included once per target, after microkernel-inl.h.
#if defined(RETORT_MICROKERNEL_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_MICROKERNEL_BF16_INL_H_
#undef RETORT_MICROKERNEL_BF16_INL_H_
#else
#define RETORT_MICROKERNEL_BF16_INL_H_
#endif

#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/cpu/simd/bfloat16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using U32 = hn::ScalableTag<std::uint32_t>;
using Pairs = hn::Vec<U32>;

struct PairTile {
  const BFloat16* a;
  std::int64_t a_step;     ///< from a pair to the next
  const std::uint32_t* b;  ///< [pairs, NV * kLanes], all of it readable; columns beyond `cols` are ignored
  std::int64_t b_step;
  std::int64_t pairs;
  float* const* sums;  ///< the rows' addresses: where sums wait for the next block of depths
  std::int64_t col, cols;
  bool resume;                         ///< start from `sums` instead of 0
  BFloat16* const* c;                  ///< rows that take the result, rounded; null: it goes to `sums`
  Epilogue<BFloat16> epilogue = {};    ///< its residual is the one below
  const BFloat16* residual = nullptr;  ///< the epilogue's at the tile's first row and column, or null
  std::int64_t residual_stride = 0;
  PrefetchTurns ahead = {};  ///< as many as the pairs
};

/// Two neighbouring elements.
HWY_INLINE std::uint32_t load_pair(const BFloat16* from) {
  std::uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}

/// How pairs are multiplied and results rounded.
template <class Arithmetic>
struct Pairing;

/// By plain float arithmetic.
template <>
struct Pairing<WidenedBf16> {
  template <int MR, int NV>
  HWY_INLINE static void multiply_add(const BFloat16* a, std::int64_t row_step, const Pairs (&b)[NV],
                                      Vector (&sum)[MR][NV]) {
    add_halves<MR, NV>([](Pairs pairs) HWY_ATTR { return hn::BitCast(F32(), hn::ShiftLeft<16>(pairs)); }, a, row_step,
                       b, sum);
    add_halves<MR, NV>([](Pairs pairs)
                           HWY_ATTR { return hn::BitCast(F32(), hn::And(pairs, hn::Set(U32(), 0xFFFF0000u))); },
                       a, row_step, b, sum);
  }

  HWY_INLINE static HalfBits<F32> round(Vector value) { return narrow(F32(), value); }

  template <int NV>
  HWY_INLINE static void store(const Vector (&row)[NV], BFloat16* to, std::int64_t cols) {
    const HalfTag<F32> half;
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      const auto bits = round(row[v]);
      if (HWY_LIKELY(cols >= (v + 1) * kLanes))
        hn::StoreU(bits, half, bits_at(to + v * kLanes));
      else
        store_some(half, bits, to + v * kLanes, static_cast<std::size_t>(cols - v * kLanes));
    }
  }

 private:
  template <int MR, int NV, class Half>
  HWY_INLINE static void add_halves(const Half& half, const BFloat16* a, std::int64_t row_step, const Pairs (&b)[NV],
                                    Vector (&sum)[MR][NV]) {
    Vector columns[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) columns[v] = half(b[v]);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vector row = half(hn::Set(U32(), load_pair(a + i * row_step)));
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = hn::MulAdd(row, columns[v], sum[i][v]);
    }
  }
};

#if HWY_TARGET == HWY_AVX3
/// By AVX-512 BF16, in assembly: intrinsics would need a target that Highway does not have, and none of its
/// functions could be inlined there. Denormals count as 0.
template <>
struct Pairing<NativeBf16> {
  template <int MR, int NV>
  HWY_INLINE static void multiply_add(const BFloat16* a, std::int64_t row_step, const Pairs (&b)[NV],
                                      Vector (&sum)[MR][NV]) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Pairs row = hn::Set(U32(), load_pair(a + i * row_step));
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) asm("vdpbf16ps %2, %1, %0" : "+v"(sum[i][v].raw) : "v"(row.raw), "v"(b[v].raw));
    }
  }

  HWY_INLINE static HalfBits<F32> round(Vector value) {
    HalfBits<F32> bits;
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits.raw) : "v"(value.raw));
    return bits;
  }

  template <int NV>
  HWY_INLINE static void store(const Vector (&row)[NV], BFloat16* to, std::int64_t cols) {
    const hn::ScalableTag<std::uint16_t> d;
    hn::Vec<decltype(d)> bits;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(bits.raw) : "v"(row[0].raw), "v"(row[NV - 1].raw));
    if (HWY_LIKELY(cols == 2 * kLanes))
      hn::StoreU(bits, d, bits_at(to));
    else
      hn::BlendedStore(bits, hn::FirstN(d, static_cast<std::size_t>(cols)), d, bits_at(to));
  }
};
#endif

/// A tile's residual, readable in whole vectors: in place, or copied where the columns end within a vector. Masked
/// loads between the sums would take registers from them.
template <int MR, int NV>
struct ResidualRows {
  explicit ResidualRows(const PairTile& tile) {
    if (tile.residual == nullptr) return;
    const bool whole = tile.cols == NV * kLanes;
    for (int i = 0; i < MR; ++i) {
      rows[i] = tile.residual + i * tile.residual_stride;
      if (whole) continue;
      std::memcpy(copies[i], rows[i], static_cast<std::size_t>(tile.cols) * sizeof(BFloat16));
      rows[i] = copies[i];
    }
  }
  const BFloat16* rows[MR];
  BFloat16 copies[MR][NV * kLanes];
};

/// kRowStep > 0: a row-major panel whose rows are that far apart (a constant, so that a row costs no register); 0:
/// depth-major, rows in pairs side by side.
template <class Arithmetic, int MR, int NV, std::int64_t kRowStep>
void run_pair_tile(const PairTile& tile) {
  const F32 d;
  Vector sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sum[i][v] = hn::Zero(d);
  }
  if (tile.resume) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = load_columns(d, tile.sums[i] + tile.col, v, tile.cols);
    }
  }

  const BFloat16* HWY_RESTRICT a = tile.a;
  const std::uint32_t* HWY_RESTRICT b = tile.b;
  for (auto l = static_cast<std::size_t>(tile.pairs); l > 0; --l) {
    // Fetches this tile's target, or what the next sliver's tile starts from. One row at a time: all at once would hold
    // up the reading of B.
    if (l % kPrefetchEvery == 0 && l / kPrefetchEvery < MR) {
      if (tile.c != nullptr) {
        hwy::Prefetch(tile.c[l / kPrefetchEvery] + tile.col);
      } else {
        const float* next = tile.sums[l / kPrefetchEvery] + tile.col + NV * kLanes;
        hwy::Prefetch(next);
        if (NV == 2) hwy::Prefetch(next + kLanes);
      }
    }
    tile.ahead.take(l - 1);
    Pairs columns[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) columns[v] = hn::LoadU(U32(), b + v * kLanes);
    Pairing<Arithmetic>::template multiply_add<MR, NV>(a, kRowStep > 0 ? kRowStep : 2, columns, sum);
    a += kRowStep > 0 ? 2 : tile.a_step;
    b += tile.b_step;
  }

  const ResidualRows<MR, NV> residual(tile);
  finish_sums<MR, NV>(
      tile.epilogue, tile.col, tile.cols, tile.residual != nullptr,
      [&](int i, int v)
          HWY_ATTR { return widen(d, hn::LoadU(HalfTag<F32>(), bits_at(residual.rows[i] + v * kLanes))); },
      sum);
  if (tile.c != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) Pairing<Arithmetic>::template store<NV>(sum[i], tile.c[i] + tile.col, tile.cols);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store_columns(d, sum[i][v], tile.sums[i] + tile.col, v, tile.cols);
  }
}

using PairTileFunction = void (*)(const PairTile&);

/// The tiles of 1 to kTileRows rows, by rows - 1.
template <class Arithmetic, int NV, std::int64_t kRowStep, int... kRows>
constexpr std::array<PairTileFunction, kTileRows> make_pair_tiles(std::integer_sequence<int, kRows...>) {
  return {&run_pair_tile<Arithmetic, kRows + 1, NV, kRowStep>...};
}

template <class Arithmetic, int NV, std::int64_t kRowStep>
inline constexpr std::array<PairTileFunction, kTileRows> kPairTiles =
    make_pair_tiles<Arithmetic, NV, kRowStep>(std::make_integer_sequence<int, kTileRows>());

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_MICROKERNEL_BF16_INL_H_
