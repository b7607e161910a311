// Convolutions and products of bf16 (contracts: kernels/conv2d.h, kernels/gemm.h) as launches of hopper_product where
// the device and the shape allow it, else by the kernels of conv2d_bf16.cu. Buffers are aligned to 16 bytes.
#include <algorithm>

#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d_launch.h"
#include "kernels/cuda/hopper_product.h"
#include "kernels/entry.h"
#include "kernels/gemm.h"

namespace retort::RETORT_BACKEND {

struct bf16;
template <class Kind>
GemmKernels gemm();
template <class Kind>
Conv2dKernels conv2d();

namespace {

using T = BFloat16;

/// The one place that chooses: whether bulk copies take the operands of each of the convolution's passes. A copy's
/// strides are multiples of 16 bytes, so channels come in eights; the corners of an im2col map's bounding box fit 8
/// bits, and its windows are at most 8 pixels apart.
bool takes(const Conv2dGeometry& g) {
  constexpr std::int64_t kReach = 64, kStride = 8;
  return dev::on_hopper() && g.groups == 1 && g.c % 8 == 0 && g.k % 8 == 0 &&
         std::min({g.n, g.h, g.w, g.c, g.k, g.p(), g.q()}) > 0 && std::max(g.pad_h, g.pad_w) <= kReach &&
         std::max((g.r - 1) * g.dilation_h, (g.s - 1) * g.dilation_w) <= kReach &&
         std::max(g.stride_h, g.stride_w) <= kStride;
}

/// A product as a convolution of 1 x 1 over images of one pixel. Both operands transposed are no pass of one.
Conv2dGeometry as_convolution(const GemmGeometry& g) {
  if (g.transpose_a) return {.n = g.k, .c = g.m, .k = g.n};
  if (g.transpose_b) return {.n = g.m, .c = g.n, .k = g.k};
  return {.n = g.m, .c = g.k, .k = g.n};
}
bool takes(const GemmGeometry& g) { return !(g.transpose_a && g.transpose_b) && takes(as_convolution(g)); }

/// Whether each window is the pixel itself: then no gathering is needed.
bool pointwise(const Conv2dGeometry& g) {
  return g.r == 1 && g.s == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_h == 0 && g.pad_w == 0;
}

int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

/// How a product is cut: the columns of a tile, and the parts along k.
struct HopperCut {
  int columns = 64, splits = 1, per_split = 0;
};

/// The cut that costs least by a model whose unit is a slice of a 128 x 256 tile on one multiprocessor. Its numbers are
/// estimates, not measured: narrower tiles load more for each multiplication.
HopperCut choose_hopper_cut(std::int64_t m, std::int64_t n, int slices) {
  struct Candidate {
    int columns;
    double slice;
  };
  constexpr Candidate kCandidates[] = {{256, 1}, {128, 0.6}, {64, 0.4}};
  constexpr double kTask = 4;       // a tile's end and its first slice's latency, in its own slices
  constexpr double kLaunch = 6;     // of the kernel that adds parts
  constexpr double kPart = 5.6e-6;  // of an element of a part
  constexpr int kLeastSlices = 8;   // a part
  const std::int64_t blocks = dev::multiprocessors();
  HopperCut best;
  double least = -1;
  for (const Candidate& tile : kCandidates) {
    if (tile.columns > 64 && n <= tile.columns / 2) continue;  // half of it would stay empty
    const std::int64_t tiles = std::int64_t{ceil_div(m, 128)} * ceil_div(n, tile.columns);
    const std::int64_t most =
        std::max<std::int64_t>(1, std::min<std::int64_t>(slices / kLeastSlices, 2 * blocks / tiles));
    for (std::int64_t wanted = 1; wanted <= most; ++wanted) {
      const int per_split = std::max(1, ceil_div(slices, wanted)), splits = std::max(1, ceil_div(slices, per_split));
      double cost = ceil_div(tiles * splits, blocks) * (per_split + kTask) * tile.slice;
      if (splits > 1) cost += kLaunch + kPart * static_cast<double>(splits * m * n);
      if (least >= 0 && cost >= least) continue;
      least = cost;
      best = {tile.columns, splits, per_split};
    }
  }
  return best;
}

/// operands(tile) makes the policy for a HopperTile.
template <class MakeOperands, class Result>
void launch_product(const char* name, Stream stream, const HopperCut& cut, std::int64_t m, std::int64_t n, int slices,
                    const MakeOperands& operands, const Result& result) {
  const auto launch = [&](auto tile) {
    using Tile = decltype(tile);
    const auto policy = operands(tile);
    using Operands = std::remove_const_t<decltype(policy)>;
    const HopperArguments<Operands, Result> g{policy,     result, ceil_div(m, Tile::kM), ceil_div(n, Tile::kN),
                                              cut.splits, slices, cut.per_split};
    const int tasks = g.tiles_m * g.tiles_n * g.splits;
    dev::launch(name, hopper_product<Tile, Operands, Result>,
                {{static_cast<unsigned>(std::min(tasks, dev::multiprocessors()))},
                 {kHopperThreads},
                 HopperShared<Tile>::kBytes},
                stream, g);
  };
  switch (cut.columns) {
    case 256: return launch(HopperTile<256>{});
    case 128: return launch(HopperTile<128>{});
    default: return launch(HopperTile<64>{});
  }
}

/// m: rows of the product with their padding; whole: C, and its rows without. result() makes the policy of a product
/// that is not cut.
template <Pass kPass, class MakeOperands, class MakeResult>
void multiply(const char* name, Stream stream, Scratch& scratch, std::int64_t m, int slices,
              const MakeOperands& operands, const MakeResult& result, GemmArguments<T> whole) {
  const HopperCut cut = choose_hopper_cut(m, whole.n, slices);
  whole.groups = 1;
  whole.n_group = whole.n;
  if (cut.splits > 1) whole.partial = scratch.take<float>(std::int64_t{cut.splits} * whole.m * whole.n);
  if (scratch.sizing()) return;
  if (cut.splits == 1) return launch_product(name, stream, cut, m, whole.n, slices, operands, result());
  StoreSums parts{.data = whole.partial, .rows = to_int(m), .n = whole.n};
  parts.split_elements = std::int64_t{whole.m} * whole.n;
  if (kPass == Pass::wgrad) parts.channels = whole.c.channels, parts.padded = whole.c.padded;
  launch_product(name, stream, cut, m, whole.n, slices, operands, parts);
  add_parts<T, kPass>(stream, whole, cut.splits);
}

/// The pixels that a convolution's output sees, and its taps; the filter's are numbered in its own order.
HopperGrid window_grid(const Conv2dGeometry& g) {
  return {.rows = to_int(g.p()),
          .columns = to_int(g.q()),
          .first_h = -to_int(g.pad_h),
          .first_w = -to_int(g.pad_w),
          .step_h = to_int(g.stride_h),
          .step_w = to_int(g.stride_w)};
}
HopperTaps window_taps(const Conv2dGeometry& g) {
  return {.across = to_int(g.s), .move_h = to_int(g.dilation_h), .move_w = to_int(g.dilation_w)};
}
dev::TensorMap window_map(const Conv2dGeometry& g, const T* x, int pixels) {
  return dev::im2col_map(x,
                         {.c = g.c,
                          .w = g.w,
                          .h = g.h,
                          .n = g.n,
                          .lower_w = -to_int(g.pad_w),
                          .lower_h = -to_int(g.pad_h),
                          .upper_w = to_int(g.pad_w - (g.s - 1) * g.dilation_w),
                          .upper_h = to_int(g.pad_h - (g.r - 1) * g.dilation_h),
                          .step_w = to_int(g.stride_w),
                          .step_h = to_int(g.stride_h)},
                         pixels);
}
/// Rows of 64 channels of pixels that follow each other in memory.
dev::TensorMap rows_map(const T* data, std::int64_t channels, std::int64_t pixels, int box) {
  return dev::tiled_map<2>(data, {channels, pixels}, {64, box});
}

/// `c` describes the rows; what becomes of them is result's.
StoreTile store_tile(const Output<T>& c, std::int64_t m, std::int64_t n) {
  return {.c = rows_map(c.data, n, m, 64),
          .scale = c.scale,
          .bias = c.bias,
          .residual = c.residual,
          .relu = c.relu,
          .m = to_int(m),
          .n = to_int(n)};
}

void fprop(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* x, const T* w,
           const ConvEpilogue& epilogue, T* y) {
  const std::int64_t m = g.n * g.p() * g.q();
  const int channel_slices = ceil_div(g.c, kSliceDepth), slices = to_int(g.r * g.s) * channel_slices;
  GemmArguments<T> whole{};
  whole.m = to_int(m);
  whole.n = to_int(g.k);
  whole.c = output_of(epilogue, y, g.k);
  const auto operands = [&](auto gathered, auto tile) {
    constexpr bool kGathered = decltype(gathered)::value;
    using Tile = decltype(tile);
    WindowOperands<Tile, kGathered, true> o;
    o.image = kGathered ? window_map(g, x, Tile::kM) : rows_map(x, g.c, m, Tile::kM);
    o.filter = dev::tiled_map<3>(w, {g.k, g.c, g.r * g.s}, {64, kSliceDepth, 1});
    o.grid = window_grid(g);
    o.taps = window_taps(g);
    o.channel_slices = channel_slices;
    o.filter_step_h = to_int(g.s);
    o.filter_step_w = 1;
    return o;
  };
  const auto result = [&] { return store_tile(whole.c, m, g.k); };
  const auto run = [&](auto gathered) {
    multiply<Pass::fprop>(
        "hopper_fprop", stream, scratch, m, slices, [&](auto tile) { return operands(gathered, tile); }, result, whole);
  };
  if (pointwise(g))
    run(std::false_type{});
  else
    run(std::true_type{});
}

/// dx, one residue class of the stride at a time, as conv2d-inl.h has it.
void dgrad(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* dy, const T* w, const float* bias,
           bool relu, T* dx) {
  const int channel_slices = ceil_div(g.k, kSliceDepth);
  // The classes run one after another: they share the memory for their splits.
  std::size_t largest = scratch.used();
  for (std::int64_t row = 0; row < std::min(g.stride_h, g.h); ++row)
    for (std::int64_t column = 0; column < std::min(g.stride_w, g.w); ++column) {
      const Taps down = taps_of_class(row, g.pad_h, g.stride_h, g.dilation_h, g.r);
      const Taps across = taps_of_class(column, g.pad_w, g.stride_w, g.dilation_w, g.s);
      const std::int64_t rows = (g.h - row + g.stride_h - 1) / g.stride_h;
      const std::int64_t columns = (g.w - column + g.stride_w - 1) / g.stride_w;
      const std::int64_t m = g.n * rows * columns;
      const int slices = down.count * across.count * channel_slices;
      // The corners from which taps move on, towards smaller and towards larger coordinates.
      const int first_h = down.offset + std::min(0, (down.count - 1) * down.move);
      const int first_w = across.offset + std::min(0, (across.count - 1) * across.move);
      const bool contiguous = g.stride_h == 1 && g.stride_w == 1;
      GemmArguments<T> whole{};
      whole.m = to_int(m);
      whole.n = to_int(g.c);
      whole.c = Output<T>{.data = dx,
                          .bias = bias,
                          .relu = relu,
                          .pitch = to_int(g.c),
                          .rows = to_int(rows),
                          .columns = to_int(columns),
                          .h = to_int(g.h),
                          .w = to_int(g.w),
                          .mul_h = to_int(g.stride_h),
                          .mul_w = to_int(g.stride_w),
                          .off_h = to_int(row),
                          .off_w = to_int(column),
                          .contiguous = contiguous};
      const auto operands = [&](auto gathered, auto tile) {
        constexpr bool kGathered = decltype(gathered)::value;
        using Tile = decltype(tile);
        WindowOperands<Tile, kGathered, false> o{};
        o.channel_slices = channel_slices;
        o.grid = {.rows = to_int(rows),
                  .columns = to_int(columns),
                  .first_h = first_h,
                  .first_w = first_w,
                  .step_h = 1,
                  .step_w = 1};
        if (slices == 0) return o;  // no tap reaches this class: nothing is loaded
        if constexpr (kGathered)
          o.image = dev::im2col_map(dy,
                                    {.c = g.k,
                                     .w = g.q(),
                                     .h = g.p(),
                                     .n = g.n,
                                     .lower_w = first_w,
                                     .lower_h = first_h,
                                     .upper_w = to_int(columns - g.q()) + first_w,
                                     .upper_h = to_int(rows - g.p()) + first_h,
                                     .step_w = 1,
                                     .step_h = 1},
                                    Tile::kM);
        else
          o.image = rows_map(dy, g.k, m, Tile::kM);
        o.filter = dev::tiled_map<3>(w, {g.k, g.c, g.r * g.s}, {kSliceDepth, Tile::kN, 1});
        o.taps = {.across = across.count,
                  .offset_h = down.offset - first_h,
                  .offset_w = across.offset - first_w,
                  .move_h = down.move,
                  .move_w = across.move};
        o.filter_first = down.first * to_int(g.s) + across.first;
        o.filter_step_h = down.step * to_int(g.s);
        o.filter_step_w = across.step;
        return o;
      };
      Scratch own = scratch;
      const auto run = [&](auto gathered, const auto& result) {
        multiply<Pass::dgrad>(
            "hopper_dgrad", stream, own, m, slices, [&](auto tile) { return operands(gathered, tile); }, result, whole);
      };
      const auto tile = [&] { return store_tile(whole.c, m, g.c); };
      const auto strided = [&] { return StoreStrided{whole.c, to_int(m), to_int(g.c)}; };
      if (pointwise(g))
        run(std::false_type{}, tile);
      else if (contiguous)
        run(std::true_type{}, tile);
      else
        run(std::true_type{}, strided);
      largest = std::max(largest, own.used());
    }
  scratch.grow(largest - scratch.used());
}

/// dw in f32, or in bf16 as no parameter's gradient is: one of the two is null.
void wgrad(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* x, const T* dy, const float* bias,
           bool relu, float* dw_f32, T* dw) {
  const std::int64_t pixels = g.n * g.p() * g.q(), taps = g.r * g.s;
  const int channel_slices = ceil_div(g.c, 64), slices = ceil_div(pixels, kSliceDepth);
  const std::int64_t m = taps * channel_slices * 64;
  GemmArguments<T> whole{};
  whole.m = to_int(taps * g.c);
  whole.n = to_int(g.k);
  whole.c = Output<T>{.data = dw,
                      .data_f32 = dw_f32,
                      .bias = bias,
                      .relu = relu,
                      .pitch = to_int(g.k),
                      .channels = to_int(g.c),
                      .padded = channel_slices * 64};
  const auto operands = [&](auto gathered, auto tile) {
    constexpr bool kGathered = decltype(gathered)::value;
    PixelOperands<decltype(tile), kGathered> o;
    o.image = kGathered ? window_map(g, x, kSliceDepth) : rows_map(x, g.c, pixels, kSliceDepth);
    o.gradient = rows_map(dy, g.k, pixels, kSliceDepth);
    o.grid = window_grid(g);
    o.taps = window_taps(g);
    o.channel_slices = channel_slices;
    o.runs = to_int(taps) * channel_slices;
    o.step = grid_step(kSliceDepth, o.grid.rows, o.grid.columns);
    return o;
  };
  const auto sums = [&] {
    return StoreSums{.data = dw_f32,
                     .bias = bias,
                     .relu = relu,
                     .rows = to_int(m),
                     .n = to_int(g.k),
                     .channels = whole.c.channels,
                     .padded = whole.c.padded};
  };
  const auto run = [&](auto gathered, const auto& result) {
    multiply<Pass::wgrad>(
        "hopper_wgrad", stream, scratch, m, slices, [&](auto tile) { return operands(gathered, tile); }, result, whole);
  };
  if (!pointwise(g))
    run(std::true_type{}, sums);
  else if (dw)
    run(std::false_type{}, [&] { return store_tile(whole.c, g.c, g.k); });
  else
    run(std::false_type{}, sums);
}

void multiply_matrices(Stream stream, Scratch& scratch, const GemmGeometry& g, const T* a, const T* b,
                       const float* bias, bool relu, void* c) {
  const Conv2dGeometry conv = as_convolution(g);
  if (!g.transpose_a && !g.transpose_b)
    fprop(stream, scratch, conv, a, b, {.bias = bias, .relu = relu}, static_cast<T*>(c));
  else if (g.transpose_b)
    dgrad(stream, scratch, conv, a, b, bias, relu, static_cast<T*>(c));
  else if (g.parameter_c)
    wgrad(stream, scratch, conv, a, b, bias, relu, static_cast<float*>(c), nullptr);
  else
    wgrad(stream, scratch, conv, a, b, bias, relu, nullptr, static_cast<T*>(c));
}

std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  if (!takes(g)) return conv2d<bf16>().workspace_bytes(pass, g);
  Scratch scratch;
  switch (pass) {
    case ConvPass::fprop: fprop({}, scratch, g, nullptr, nullptr, {}, nullptr); break;
    case ConvPass::dgrad: dgrad({}, scratch, g, nullptr, nullptr, nullptr, false, nullptr); break;
    case ConvPass::wgrad: wgrad({}, scratch, g, nullptr, nullptr, nullptr, false, nullptr, nullptr); break;
  }
  return scratch.used();
}

void conv2d_fprop(Stream stream, const Conv2dGeometry& g, const T* x, const T* w, const ConvEpilogue& epilogue, T* y,
                  void* workspace) {
  if (!takes(g)) return conv2d<bf16>().fprop(stream, g, x, w, epilogue, y, workspace);
  Scratch scratch(workspace);
  fprop(stream, scratch, g, x, w, epilogue, y);
  clip_to_ceiling(stream, g, epilogue, y);
}

void conv2d_dgrad(Stream stream, const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  if (!takes(g)) return conv2d<bf16>().dgrad(stream, g, dy, w, dx, workspace);
  Scratch scratch(workspace);
  dgrad(stream, scratch, g, dy, w, nullptr, false, dx);
}

void conv2d_wgrad(Stream stream, const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  if (!takes(g)) return conv2d<bf16>().wgrad(stream, g, x, dy, dw, workspace);
  Scratch scratch(workspace);
  wgrad(stream, scratch, g, x, dy, nullptr, false, dw, nullptr);
}

std::size_t gemm_workspace_bytes(const GemmGeometry& g) {
  if (!takes(g)) return gemm<bf16>().workspace_bytes(g);
  Scratch scratch;
  multiply_matrices({}, scratch, g, nullptr, nullptr, nullptr, false, nullptr);
  return scratch.used();
}

void gemm_run(Stream stream, const GemmGeometry& g, const T* a, const T* b, const float* bias, bool relu, void* c,
              void* workspace) {
  if (!takes(g)) return gemm<bf16>().run(stream, g, a, b, bias, relu, c, workspace);
  Scratch scratch(workspace);
  multiply_matrices(stream, scratch, g, a, b, bias, relu, c);
}

}  // namespace

Conv2dKernels hopper_conv2d() {
  return {.workspace_bytes = conv2d_workspace_bytes,
          .fprop = entry<conv2d_fprop>,
          .dgrad = entry<conv2d_dgrad>,
          .wgrad = entry<conv2d_wgrad>};
}

GemmKernels hopper_gemm() { return {.workspace_bytes = gemm_workspace_bytes, .run = entry<gemm_run>}; }

}  // namespace retort::RETORT_BACKEND
