// How the Winograd convolution stores transforms and multiplies them, in f32 and in bf16. Operands lie in lanes of 32
// bits: a float, or two neighbouring depths in bf16. Included once per target.
#if defined(RETORT_WINOGRAD_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_WINOGRAD_PRODUCT_INL_H_
#undef RETORT_WINOGRAD_PRODUCT_INL_H_
#else
#define RETORT_WINOGRAD_PRODUCT_INL_H_
#endif

#include <type_traits>

#include "kernels/cpu/conv/winograd_plan.h"
#include "kernels/cpu/gemm/microkernel-inl.h"
#include "kernels/cpu/gemm/microkernel_bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Some rows of a product against a sliver of columns: sums (+)= A B. kRowStride: between the rows of a row-major A, in
/// elements, or 0 for a depth-major one.
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

/// How transforms are stored and multiplied. The general case is bf16, in pairs.
template <class Arithmetic>
struct Products {
  using Element = BFloat16;
  HWY_INLINE static void store_element(Vector value, BFloat16* to) {
    hn::StoreU(Pairing<Arithmetic>::round(value), HalfTag<F32>(), bits_at(to));
  }
  /// Lanes of a first depth, or, where `before` holds these, of a first and a second.
  HWY_INLINE static Vector lane(std::int64_t depth, Vector value, const float* before) {
    const U32 d;
    Pairs pairs = hn::PromoteTo(d, Pairing<Arithmetic>::round(value));
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
    (p.cols <= kLanes ? kPairTiles<Arithmetic, 1, kRowStride>
                      : kPairTiles<Arithmetic, 2, kRowStride>)[static_cast<std::size_t>(p.rows - 1)](tile);
  }
};

template <>
struct Products<FloatArithmetic> {
  using Element = float;
  HWY_INLINE static void store_element(Vector value, float* to) { hn::StoreU(value, F32(), to); }
  /// Lanes of one depth.
  HWY_INLINE static Vector lane(std::int64_t, Vector value, const float*) { return value; }

  template <std::int64_t kRowStride>
  static void multiply(const ProductTile<float>& p) {
    const Tile tile = {.a = p.a,
                       .a_stride = kRowStride > 0 ? kRowStride : p.a_step,
                       .b = p.b,
                       .b_stride = p.b_step,
                       .depth = p.depth,
                       .c = p.sums,
                       .col = p.col,
                       .cols = p.cols,
                       .start = nullptr,
                       .accumulate = p.accumulate};
    (p.cols <= kLanes ? kTiles<1, (kRowStride > 0)>
                      : kTiles<2, (kRowStride > 0)>)[static_cast<std::size_t>(p.rows - 1)](tile);
  }
};

/// A depth of a transformed filter on its way to the lanes at `to`. It is held at `held` until its lane is whole, then
/// streamed past the cache: together the filters of a deep layer are larger, and reading them first would cost as much.
template <class Stored>
class FilterDepth {
 public:
  FilterDepth(std::int64_t depth, bool last) : place_(depth % kDepths), completes_(place_ == kDepths - 1 || last) {}
  HWY_INLINE void store(Vector value, float* held, float* to) const {
    value = Stored::lane(place_, value, held);
    if (completes_)
      hn::Stream(value, F32(), to);
    else
      hn::Store(value, F32(), held);
  }

 private:
  static constexpr std::int64_t kDepths = kLaneDepths<typename Stored::Element>;
  std::int64_t place_;  ///< in its lane
  bool completes_;      ///< the lane
};

/// The products of some tiles, whose inputs are in `panels`, and some columns.
template <class Stored, class T>
void multiply_tiles(const WinogradProductPlan<T>& plan, std::int64_t tiles, const Range& cols, const T* panels,
                    const float* filters, float* products) {
  const std::int64_t count = divide_up(tiles, kTileRows);
  for (std::int64_t f = 0; f < plan.products; ++f) {
    for (std::int64_t block = 0; block < plan.tap_blocks * plan.channel_blocks; ++block) {
      const std::int64_t tap_block = block / plan.channel_blocks;
      const std::int64_t first = block % plan.channel_blocks * plan.block_channels;
      for (std::int64_t i = 0; i < count; ++i) {
        const Range rows = share_of(tiles, count, i);
        float* addresses[kTileRows];
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          addresses[row - rows.begin] = products + f * plan.product_step + row * kGroupCols;
        for (std::int64_t col = cols.begin; col < cols.end; col += kSliver) {
          const std::int64_t lane =
              (col / kSliver * plan.tap_blocks + tap_block) * plan.channel_lanes + first / kLaneDepths<T>;
          Stored::template multiply<kPanelRowStride<T>>(
              {.a = panels + f * plan.panel_step + block * plan.block_step + rows.begin * kPanelRowStride<T>,
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

/// Runs a task of fprop or dgrad with the transformed `filters`: inputs(tiles, zeros, panels) transforms some tiles'
/// inputs to where the plan has them, outputs(tiles, cols, products) transforms a group of columns back.
template <class Stored, class T, class Inputs, class Outputs>
void run_product_task(const WinogradProductPlan<T>& plan, std::int64_t index, const float* filters, float* scratch,
                      const Inputs& inputs, const Outputs& outputs) {
  const Range tiles = plan.tasks.tiles(index), groups = plan.tasks.groups(index);
  T* const panels = reinterpret_cast<T*>(scratch);
  float* const products = scratch + plan.panel_floats();
  T* const zeros = reinterpret_cast<T*>(products + plan.products * plan.product_step);
  std::fill_n(zeros, plan.channels, T(0.0f));
  inputs(tiles, zeros, panels);
  for (std::int64_t group = groups.begin; group < groups.end; ++group) {
    const Range cols = {group * kGroupCols, std::min((group + 1) * kGroupCols, plan.cols)};
    multiply_tiles<Stored>(plan, tiles.size(), cols, panels, filters, products);
    outputs(tiles, cols, products);
  }
}

/// products (+)= x^T dy over `depth` tiles, of a task of wgrad.
template <class Stored, class T>
void multiply_operands(const WinogradWgradPlan& plan, const WinogradWgradBlock<T>& block, std::int64_t rows,
                       std::int64_t depth, bool accumulate) {
  const std::int64_t cols = block.cols.size(), panels = divide_up(rows, kTileRows);
  for (std::int64_t f = 0; f < plan.products; ++f)
    for (std::int64_t i = 0; i < panels; ++i) {
      const Range panel = share_of(rows, panels, i);
      float* addresses[kTileRows];
      for (std::int64_t row = panel.begin; row < panel.end; ++row)
        addresses[row - panel.begin] = block.products + f * plan.product_step + row * plan.cols;
      for (std::int64_t col = 0; col < cols; col += kSliver)
        Stored::template multiply<0>({.a = reinterpret_cast<const T*>(block.x + f * plan.x_step + panel.begin),
                                      .a_step = plan.x_row * kLaneDepths<T>,
                                      .b = block.dy + f * plan.dy_step + col,
                                      .b_step = plan.cols,
                                      .depth = depth,
                                      .sums = addresses,
                                      .rows = panel.size(),
                                      .col = col,
                                      .cols = std::min(kSliver, cols - col),
                                      .accumulate = accumulate});
    }
}

/// Runs a task of wgrad but for its end: transform(tile, place) brings a tile's operands to their place among those of
/// a stretch. `rows` of x_row have channels.
template <class Stored, class T, class Transform>
void sum_over_tiles(const WinogradWgradPlan& plan, const WinogradWgradBlock<T>& block, std::int64_t rows,
                    std::int64_t tiles, const Transform& transform) {
  const std::int64_t stretches = divide_up(tiles, WinogradWgradTasks::kStretch * kLaneDepths<T>);
  for (std::int64_t i = 0; i < stretches; ++i) {
    const Range stretch = share_of(tiles, stretches, i);
    for (std::int64_t tile = stretch.begin; tile < stretch.end; ++tile) transform(tile, tile - stretch.begin);
    multiply_operands<Stored>(plan, block, rows, stretch.size(), i > 0);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_WINOGRAD_PRODUCT_INL_H_
