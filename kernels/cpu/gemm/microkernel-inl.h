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
  std::int64_t a_stride;  ///< depth-major panels only; row-major ones have kRowStride
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

/// kRowStride > 0: a row-major panel of that stride (a constant, so that a row costs no register); 0: depth-major.
template <int MR, int NV, std::int64_t kRowStride>
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

  const float* HWY_RESTRICT a = tile.a;
  const float* HWY_RESTRICT b = tile.b;
  const std::int64_t second = std::min(tile.cols - 1, kLanes);  // column of the second vector
  const std::int64_t a_step = kRowStride > 0 ? 1 : tile.a_stride;
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
      const Vector row = hn::Set(d, a[kRowStride > 0 ? i * kRowStride : i]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[i][v] = hn::MulAdd(row, columns[v], sum[i][v]);
    }
    a += a_step;
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
template <int NV, std::int64_t kRowStride, int... kRows>
constexpr std::array<TileFunction, kTileRows> make_tiles(std::integer_sequence<int, kRows...>) {
  return {&run_tile<kRows + 1, NV, kRowStride>...};
}

template <int NV, std::int64_t kRowStride>
inline constexpr std::array<TileFunction, kTileRows> kTiles =
    make_tiles<NV, kRowStride>(std::make_integer_sequence<int, kTileRows>());

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_MICROKERNEL_INL_H_
