// The register tile: C[MR, NV vectors] (+)= A panel * B sliver, all accumulators in registers. 14 x 2 vectors keep 28
// of AVX-512's 32 registers busy, 6 x 2 the 16 of AVX2. Included once per target.
#if defined(RETORT_MICROKERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_MICROKERNEL_INL_H_
#undef RETORT_MICROKERNEL_INL_H_
#else
#define RETORT_MICROKERNEL_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "kernels/cpu/gemm/epilogue-inl.h"
#include "kernels/cpu/gemm/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using Vector = hn::Vec<F32>;

constexpr std::int64_t kLanes = hn::MaxLanes(F32());
constexpr int kTileVectors = 2;
constexpr int kTileRows = kLanes >= 16 ? 14 : 6;
constexpr std::int64_t kSliver = kTileVectors * kLanes;  // columns of a full tile

constexpr std::size_t kPrefetchEvery = 4;  // depths

struct Tile {
  const float* a;
  std::int64_t a_stride;  ///< between rows of row-major panels, depths of depth-major ones
  const float* b;         ///< [depth, NV * kLanes], all of it readable; columns beyond `cols` are ignored
  std::int64_t b_stride;
  std::int64_t depth;
  float* const* c;  ///< the rows' addresses
  std::int64_t col, cols;
  float* const* start;                        ///< rows laid out as C whose values the sums start from, or null for 0
  bool accumulate;                            ///< add to C instead of overwriting it
  const Epilogue<float>* epilogue = nullptr;  ///< its residual is the one below; null: the sums stay as they are
  const float* residual = nullptr;            ///< the epilogue's at the tile's first row and column, or null
  std::int64_t residual_stride = 0;
  PrefetchTurns ahead = {};  ///< as many as the depth
};

HWY_INLINE Vector load_columns(F32 d, const float* source, std::int64_t v, std::int64_t cols) {
  const std::int64_t begin = v * kLanes;
  if (HWY_LIKELY(cols >= begin + kLanes)) return hn::LoadU(d, source + begin);
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(cols - begin)), d, source + begin);
}

HWY_INLINE void store_columns(F32 d, Vector value, float* target, std::int64_t v, std::int64_t cols) {
  const std::int64_t begin = v * kLanes;
  if (HWY_LIKELY(cols >= begin + kLanes)) return hn::StoreU(value, d, target + begin);
  hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(cols - begin)), d, target + begin);
}

/// act(scale * sum + bias + residual) of an epilogue for a tile's sums, whose first column is `col`. residual(i, v)
/// loads a vector of row i.
template <int MR, int NV, class Out, class Residual>
HWY_INLINE void finish_sums(const Epilogue<Out>& epilogue, std::int64_t col, std::int64_t cols, bool has_residual,
                            const Residual& residual, Vector (&sum)[MR][NV]) {
  const F32 d;
  const float *scales = epilogue.scale, *biases = epilogue.bias;
  if (scales != nullptr || biases != nullptr) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      const Vector scale = scales != nullptr ? load_columns(d, scales + col, v, cols) : hn::Set(d, 1.0f);
      const Vector bias = biases != nullptr ? load_columns(d, biases + col, v, cols) : hn::Zero(d);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) sum[i][v] = hn::MulAdd(sum[i][v], scale, bias);
    }
  }
  if (has_residual) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = hn::Add(sum[i][v], residual(i, v));
    }
  }
  if (epilogue.relu) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = relu(d, sum[i][v]);
    }
    if (epilogue.ceiling < std::numeric_limits<float>::infinity()) {
      const Vector ceiling = hn::Set(d, epilogue.ceiling);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) sum[i][v] = at_most(sum[i][v], ceiling);
      }
    }
  }
}

/// Element l of a panel's rows. An address may add the stride once or twice, so that one register serves three rows.
template <int MR, bool kRowMajor>
class PanelDepth {
 public:
  HWY_INLINE PanelDepth(const float* a, std::int64_t stride) : stride_(stride) {
    for (int i = 0; i < kBases; ++i) bases_[i] = a + kRowsOfBase * i * stride;
  }
  HWY_INLINE float row(int i) const {
    return kRowMajor ? bases_[i / kRowsOfBase][i % kRowsOfBase * stride_] : bases_[0][i];
  }
  HWY_INLINE void advance() {
    for (int i = 0; i < kBases; ++i) bases_[i] += kRowMajor ? 1 : stride_;
  }

 private:
  static constexpr int kRowsOfBase = 3, kBases = kRowMajor ? (MR + kRowsOfBase - 1) / kRowsOfBase : 1;
  const float* bases_[kBases];
  std::int64_t stride_;
};

template <int MR, int NV, bool kRowMajor>
void run_tile(const Tile& tile) {
  const F32 d;
  Vector sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sum[i][v] = hn::Zero(d);
  }
  if (tile.start != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = load_columns(d, tile.start[i] + tile.col, v, tile.cols);
    }
  }

  PanelDepth<MR, kRowMajor> a(tile.a, tile.a_stride);
  const float* HWY_RESTRICT b = tile.b;
  const std::int64_t second = std::min(tile.cols - 1, kLanes);  // column of the second vector
  for (auto l = static_cast<std::size_t>(tile.depth); l > 0; --l) {
    // C is fetched a row at a time: asking for all of it at once holds up the reading of B.
    if (l % kPrefetchEvery == 0 && l / kPrefetchEvery < MR) {
      const float* row = tile.c[l / kPrefetchEvery] + tile.col;
      hwy::Prefetch(row);
      if (NV == 2) hwy::Prefetch(row + second);
    }
    tile.ahead.take(l - 1);
    Vector columns[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) columns[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vector row = hn::Set(d, a.row(i));
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = hn::MulAdd(row, columns[v], sum[i][v]);
    }
    a.advance();
    b += tile.b_stride;
  }

  if (tile.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = hn::Add(sum[i][v], load_columns(d, tile.c[i] + tile.col, v, tile.cols));
    }
  }
  if (tile.epilogue != nullptr)
    finish_sums<MR, NV>(
        *tile.epilogue, tile.col, tile.cols, tile.residual != nullptr,
        [&](int i, int v) HWY_ATTR { return load_columns(d, tile.residual + i * tile.residual_stride, v, tile.cols); },
        sum);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store_columns(d, sum[i][v], tile.c[i] + tile.col, v, tile.cols);
  }
}

using TileFunction = void (*)(const Tile&);

/// The tiles of 1 to kTileRows rows, by rows - 1.
template <int NV, bool kRowMajor, int... kRows>
constexpr std::array<TileFunction, kTileRows> make_tiles(std::integer_sequence<int, kRows...>) {
  return {&run_tile<kRows + 1, NV, kRowMajor>...};
}

template <int NV, bool kRowMajor>
inline constexpr std::array<TileFunction, kTileRows> kTiles =
    make_tiles<NV, kRowMajor>(std::make_integer_sequence<int, kTileRows>());

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_MICROKERNEL_INL_H_
