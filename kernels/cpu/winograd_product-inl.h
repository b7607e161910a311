// How the Winograd convolution stores transforms and multiplies them, in f32 and in bf16. Operands lie in lanes of 32
// bits: a float, or two neighbouring depths in bf16. Included once per instruction set.
#if defined(RETORT_WINOGRAD_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_WINOGRAD_PRODUCT_INL_H_
#undef RETORT_WINOGRAD_PRODUCT_INL_H_
#else
#define RETORT_WINOGRAD_PRODUCT_INL_H_
#endif

#include "kernels/cpu/microkernel-inl.h"
#include "kernels/cpu/microkernel_bf16-inl.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/winograd_plan.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Some rows of a product against a sliver of columns: sums (+)= A B. kRowStride as in run_tile, in elements.
template <class T>
struct ProductTile {
  const T* a;
  std::int64_t a_step;  ///< elements of a depth-major operand from a lane to the next
  const float* b;       ///< lanes [depth, b_step]
  std::int64_t b_step, depth;
  float* const* sums;
  std::int64_t rows, col, cols;
  bool accumulate;
};

struct FloatProducts {
  using Element = float;
  HWY_INLINE static void store_element(Vector value, float* to) { hn::StoreU(value, F32(), to); }
  /// Lanes of one depth.
  HWY_INLINE static Vector lane(std::int64_t, Vector value, const float*) { return value; }

  template <std::int64_t kRowStride>
  static void multiply(const ProductTile<float>& p) {
    const Tile tile = {.a = p.a,
                       .a_stride = p.a_step,
                       .b = p.b,
                       .b_stride = p.b_step,
                       .depth = p.depth,
                       .c = p.sums,
                       .col = p.col,
                       .cols = p.cols,
                       .start = nullptr,
                       .accumulate = p.accumulate};
    (p.cols <= kLanes ? kTiles<1, kRowStride> : kTiles<2, kRowStride>)[static_cast<std::size_t>(p.rows - 1)](tile);
  }
};

template <class Pairing>
struct PairProducts {
  using Element = BFloat16;
  HWY_INLINE static void store_element(Vector value, BFloat16* to) {
    hn::StoreU(Pairing::round(value), HalfTag<F32>(), bits_at(to));
  }
  /// Lanes of a first depth, or, where `before` holds these, of a first and a second.
  HWY_INLINE static Vector lane(std::int64_t depth, Vector value, const float* before) {
    const U32 d;
    Pairs pairs = hn::PromoteTo(d, Pairing::round(value));
    if (depth != 0) pairs = hn::Or(hn::BitCast(d, hn::LoadU(F32(), before)), hn::ShiftLeft<16>(pairs));
    return hn::BitCast(F32(), pairs);
  }

  template <std::int64_t kRowStride>
  static void multiply(const ProductTile<BFloat16>& p) {
    const PairTile tile = {.a = p.a,
                           .a_step = p.a_step,
                           .b = reinterpret_cast<const std::uint32_t*>(p.b),
                           .b_step = p.b_step,
                           .pairs = (p.depth + 1) / 2,
                           .sums = p.sums,
                           .col = p.col,
                           .cols = p.cols,
                           .resume = p.accumulate,
                           .c = nullptr};
    (p.cols <= kLanes ? kPairTiles<Pairing, 1, kRowStride>
                      : kPairTiles<Pairing, 2, kRowStride>)[static_cast<std::size_t>(p.rows - 1)](tile);
  }
};

/// The products of a span of tiles, whose inputs are in `panels`, and some columns.
template <class Products, class T>
void multiply_tiles(const WinogradProductPlan<T>& plan, std::int64_t tiles, const Span& cols, const T* panels,
                    const float* filters, float* products) {
  const std::int64_t count = winograd_divide_up(tiles, kTileRows);
  for (std::int64_t f = 0; f < plan.products; ++f) {
    for (std::int64_t block = 0; block < plan.tap_blocks * plan.channel_blocks; ++block) {
      const std::int64_t tap_block = block / plan.channel_blocks;
      const std::int64_t first = block % plan.channel_blocks * plan.block_channels;
      for (std::int64_t i = 0; i < count; ++i) {
        const Span rows = cut(tiles, count, i);
        float* addresses[kTileRows];
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          addresses[row - rows.begin] = products + f * plan.product_step + row * kGroupCols;
        for (std::int64_t col = cols.begin; col < cols.end; col += kSliver) {
          const std::int64_t lane =
              (col / kSliver * plan.tap_blocks + tap_block) * plan.channel_lanes + first / kLaneDepths<T>;
          Products::template multiply<kWinogradRowStride<T>>(
              {.a = panels + f * plan.panel_step + block * plan.block_step + rows.begin * kWinogradRowStride<T>,
               .a_step = 0,
               .b = filters + f * plan.filter_step + lane * kSliver,
               .b_step = kSliver,
               .depth = std::min(plan.block_channels, plan.channels - first),
               .sums = addresses,
               .rows = rows.size(),
               .col = col - cols.begin,
               .cols = std::min(kSliver, cols.end - col),
               .accumulate = block > 0});
        }
      }
    }
  }
}

/// What wgrad multiplies: some products of transposed operands, sums (+)= A^T B. A and B in lanes.
struct TransposedProducts {
  std::int64_t count, rows, cols, depth;
  const float* a;  ///< [depth, a_row], products a_step apart
  std::int64_t a_row, a_step;
  const float* b;  ///< [depth, b_row], products b_step apart
  std::int64_t b_row, b_step;
  float* sums;  ///< [rows, b_row], products sums_step apart
  std::int64_t sums_step;
  bool accumulate;
};

template <class Products>
void multiply_transposed(const TransposedProducts& p) {
  using T = typename Products::Element;
  const std::int64_t panels = winograd_divide_up(p.rows, kTileRows);
  for (std::int64_t f = 0; f < p.count; ++f)
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const Span rows = cut(p.rows, panels, panel);
      float* addresses[kTileRows];
      for (std::int64_t row = rows.begin; row < rows.end; ++row)
        addresses[row - rows.begin] = p.sums + f * p.sums_step + row * p.b_row;
      for (std::int64_t col = 0; col < p.cols; col += kSliver)
        Products::template multiply<0>({.a = reinterpret_cast<const T*>(p.a + f * p.a_step + rows.begin),
                                        .a_step = p.a_row * kLaneDepths<T>,
                                        .b = p.b + f * p.b_step + col,
                                        .b_step = p.b_row,
                                        .depth = p.depth,
                                        .sums = addresses,
                                        .rows = rows.size(),
                                        .col = col,
                                        .cols = std::min(kSliver, p.cols - col),
                                        .accumulate = p.accumulate});
    }
}

/// Calls f with the above that serves elements of type T on this processor.
template <class T, class F>
HWY_INLINE void with_products(const F& f) {
  if constexpr (std::is_same_v<T, float>)
    f(FloatProducts{});
  else
    with_pairing([&](auto pairing) { f(PairProducts<decltype(pairing)>{}); });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_WINOGRAD_PRODUCT_INL_H_
