// Convolutions and matrix products (contracts: kernels/conv2d.h, kernels/gemm.h) as launches of implicit_gemm. Buffers
// are aligned to 16 bytes. Included by one source per kind of arithmetic: exact_f32, tf32 (f32 operands rounded to 10
// bits of mantissa, on tensor cores) and bf16 (bf16 operands, f32 sums; the gradients of filters are f32).
#pragma once

#include <algorithm>

#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d_launch.h"
#include "kernels/cuda/gemm_cut.h"
#include "kernels/cuda/implicit_gemm.h"
#include "kernels/entry.h"
#include "kernels/gemm.h"

namespace retort::RETORT_BACKEND {

struct exact_f32 {
  using Element = float;
  static constexpr Math kMath = Math::exact;
  using Large = Tile<128, 128, 4, 2, 3>;
  using Narrow = Tile<128, 64, 4, 2, 3>;
  using Small = Tile<64, 64, 4, 2, 3>;
};
struct tf32 {
  using Element = float;
  static constexpr Math kMath = Math::tf32;
  using Large = Tile<128, 128, 2, 4, 4>;
  using Narrow = Tile<128, 64, 4, 2, 4>;
  using Small = Tile<64, 64, 2, 2, 4>;
};
struct bf16 {
  using Element = BFloat16;
  static constexpr Math kMath = Math::bf16;
  using Large = Tile<128, 128, 2, 4, 4>;
  using Narrow = Tile<128, 64, 4, 2, 4>;
  using Small = Tile<64, 64, 2, 2, 4>;
};

template <class T>
bool wide_chunks(const GemmArguments<T>& g) {
  return g.c.pitch % kChunk == 0 && (g.groups == 1 || g.n_group % kChunk == 0) && aligned16(g.c.data) &&
         aligned16(g.c.data_f32) && aligned16(g.c.residual);
}

template <class T, Pass kPass>
void add_parts(Stream stream, GemmArguments<T> g, int parts) {
  g.c.wide = wide_chunks(g);
  dev::launch("add_splits", add_splits<T, kPass>,
              {{blocks_for(std::int64_t{g.m} * g.groups * ((g.n + kChunk - 1) / kChunk), 256)}, {256}}, stream, g,
              parts);
}

namespace {

template <class Kind>
constexpr int pack = kPack<typename Kind::Element>;

template <class Kind>
int padded(std::int64_t channels) {
  return static_cast<int>((channels + pack<Kind> - 1) / pack<Kind> * pack<Kind>);
}

/// y [outer][rows padded][groups][inner padded] = x [outer][rows][groups][inner], zeros in the padding.
template <class T>
__global__ void pad_channels(std::int64_t n, int rows, int rows_padded, int groups, int inner, int inner_padded,
                             const T* x, T* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const int k = static_cast<int>(i % inner_padded);
    const std::int64_t rest = i / inner_padded;
    const int group = static_cast<int>(rest % groups), row = static_cast<int>(rest / groups % rows_padded);
    const std::int64_t outer = rest / groups / rows_padded;
    const bool exists = k < inner && row < rows;
    y[i] = exists ? x[((outer * rows + row) * groups + group) * inner + k] : T(0.0f);
  }
}

/// The operand with rows and runs of channels whose lengths are multiples of a pack: 16-byte copies need that.
template <class Kind, class T = typename Kind::Element>
const T* pad(Stream stream, Scratch& scratch, std::int64_t outer, std::int64_t rows, std::int64_t rows_padded,
             std::int64_t groups, std::int64_t inner, const T* x) {
  const int inner_padded = padded<Kind>(inner);
  if (rows == rows_padded && inner == inner_padded) return x;
  const std::int64_t n = outer * rows_padded * groups * inner_padded;
  T* const y = scratch.take<T>(n);
  if (!scratch.sizing() && n > 0)
    dev::launch("pad_channels", pad_channels<T>, {{blocks_for(n, 256)}, {256}}, stream, n, static_cast<int>(rows),
                static_cast<int>(rows_padded), static_cast<int>(groups), static_cast<int>(inner), inner_padded, x, y);
  return y;
}

template <class Kind, Pass kPass, class Shape, class T = typename Kind::Element>
void launch_tiles(const char* name, Stream stream, GemmArguments<T> g, int splits) {
  if (kPass == Pass::wgrad || kPass == Pass::both_transposed) g.a_step = GatherAlongM<T, Shape>::step(g.a);
  if (kPass == Pass::dgrad) g.c.step = grid_step(ChunkPlaces<Shape>::kDown, g.c.rows, g.c.columns);
  const std::int64_t tiles = std::int64_t{(g.m + Shape::kM - 1) / Shape::kM} * ((g.n + Shape::kN - 1) / Shape::kN);
  dev::launch(name, implicit_gemm<T, Kind::kMath, kPass, Shape>,
              {{static_cast<unsigned>(tiles), static_cast<unsigned>(g.groups), static_cast<unsigned>(splits)},
               {Shape::kThreads},
               kProductBytes<T, kPass, Shape>},
              stream, g);
}

/// Chooses tile and splits for g's extents, and launches.
template <class Kind, Pass kPass, class T = typename Kind::Element>
void multiply(const char* name, Stream stream, Scratch& scratch, GemmArguments<T> g) {
  if (std::int64_t{g.m} * g.n * g.groups == 0) return;
  const Cut cut = choose_cut(g.m, g.n, g.groups, (g.k + kDepth<T> - 1) / kDepth<T>);
  g.k_slice = static_cast<int>(cut.per_split * kDepth<T>);
  if (cut.splits > 1) g.partial = scratch.take<float>(cut.splits * g.groups * g.m * g.n);
  if (scratch.sizing()) return;
  g.c.wide = wide_chunks(g);
  const int splits = static_cast<int>(cut.splits);
  switch (cut.tile) {
    case Cut::Tile::large: launch_tiles<Kind, kPass, typename Kind::Large>(name, stream, g, splits); break;
    case Cut::Tile::narrow: launch_tiles<Kind, kPass, typename Kind::Narrow>(name, stream, g, splits); break;
    case Cut::Tile::small: launch_tiles<Kind, kPass, typename Kind::Small>(name, stream, g, splits); break;
  }
  if (splits > 1) add_parts<T, kPass>(stream, g, splits);
}

/// The window of a convolution over x, whose channels are padded.
template <class Kind, class T = typename Kind::Element>
Gather<T> window(const Conv2dGeometry& g, const T* x) {
  const int channels = padded<Kind>(g.c_per_group());
  return {.image = x,
          .images = to_int(g.n),
          .h = to_int(g.h),
          .w = to_int(g.w),
          .pitch = channels * to_int(g.groups),
          .rows = to_int(g.p()),
          .columns = to_int(g.q()),
          .mul_h = to_int(g.stride_h),
          .mul_w = to_int(g.stride_w),
          .off_h = -to_int(g.pad_h),
          .off_w = -to_int(g.pad_w),
          .step_h = to_int(g.dilation_h),
          .step_w = to_int(g.dilation_w),
          .taps_h = to_int(g.r),
          .taps_w = to_int(g.s),
          .channels = channels};
}

// The lists that are assigned below name their types: without one, nvcc 13 drops the designators of a list in a
// template.
template <class Kind, class T = typename Kind::Element>
void fprop(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* x, const T* w,
           const ConvEpilogue& epilogue, T* y) {
  const int cp = padded<Kind>(g.c_per_group()), kp = padded<Kind>(g.k_per_group()), groups = to_int(g.groups);
  x = pad<Kind>(stream, scratch, g.n * g.h * g.w, 1, 1, g.groups, g.c_per_group(), x);
  w = pad<Kind>(stream, scratch, g.r * g.s, g.c_per_group(), cp, g.groups, g.k_per_group(), w);
  GemmArguments<T> a{};
  a.a = window<Kind>(g, x);
  a.b = Operand<T>{.data = w, .pitch = kp * groups};
  a.c = output_of(epilogue, y, g.k);
  a.m = to_int(g.n * g.p() * g.q());
  a.n = to_int(g.k_per_group());
  a.k = to_int(g.r * g.s) * cp;
  a.groups = groups;
  a.a_group = cp;
  a.b_group = kp;
  a.n_group = a.n;
  multiply<Kind, Pass::fprop>("conv2d_fprop", stream, scratch, a);
}

/// dx, one residue class of the stride at a time: inputs (i * stride_h + row, j * stride_w + column) see the same taps,
/// so each class is a convolution of stride 1 over dy and nothing is multiplied by the zeros between strided outputs.
template <class Kind, class T = typename Kind::Element>
void dgrad(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* dy, const T* w, const float* bias,
           bool relu, T* dx) {
  const int kp = padded<Kind>(g.k_per_group()), groups = to_int(g.groups);
  dy = pad<Kind>(stream, scratch, g.n * g.p() * g.q(), 1, 1, g.groups, g.k_per_group(), dy);
  w = pad<Kind>(stream, scratch, g.r * g.s, g.c_per_group(), g.c_per_group(), g.groups, g.k_per_group(), w);
  // The classes run one after another: they share the memory for their splits.
  std::size_t largest = scratch.used();
  for (std::int64_t row = 0; row < std::min(g.stride_h, g.h); ++row)
    for (std::int64_t column = 0; column < std::min(g.stride_w, g.w); ++column) {
      const Taps down = taps_of_class(row, g.pad_h, g.stride_h, g.dilation_h, g.r);
      const Taps across = taps_of_class(column, g.pad_w, g.stride_w, g.dilation_w, g.s);
      const int rows = to_int((g.h - row + g.stride_h - 1) / g.stride_h);
      const int columns = to_int((g.w - column + g.stride_w - 1) / g.stride_w);
      const int taps_w = across.count > 0 ? across.count : 1;
      GemmArguments<T> a{};
      a.a = Gather<T>{.image = dy,
                      .images = to_int(g.n),
                      .h = to_int(g.p()),
                      .w = to_int(g.q()),
                      .pitch = kp * groups,
                      .rows = rows,
                      .columns = columns,
                      .mul_h = 1,
                      .mul_w = 1,
                      .off_h = down.offset,
                      .off_w = across.offset,
                      .step_h = down.move,
                      .step_w = across.move,
                      .taps_h = down.count,
                      .taps_w = taps_w,
                      .channels = kp};
      a.b = Operand<T>{.data = w,
                       .pitch = kp * groups,
                       .rows = to_int(g.c_per_group()),
                       .filter_s = to_int(g.s),
                       .first_r = down.first,
                       .first_s = across.first,
                       .step_r = down.step,
                       .step_s = across.step,
                       .taps_w = taps_w,
                       .channels = kp};
      a.c = Output<T>{.data = dx,
                      .bias = bias,
                      .relu = relu,
                      .pitch = to_int(g.c),
                      .rows = rows,
                      .columns = columns,
                      .h = to_int(g.h),
                      .w = to_int(g.w),
                      .mul_h = to_int(g.stride_h),
                      .mul_w = to_int(g.stride_w),
                      .off_h = to_int(row),
                      .off_w = to_int(column),
                      .contiguous = g.stride_h == 1 && g.stride_w == 1};
      a.m = to_int(g.n) * rows * columns;
      a.n = to_int(g.c_per_group());
      a.k = down.count * across.count * kp;
      a.groups = groups;
      a.a_group = kp;
      a.b_group = kp;
      a.n_group = a.n;
      Scratch own = scratch;
      multiply<Kind, Pass::dgrad>("conv2d_dgrad", stream, own, a);
      largest = std::max(largest, own.used());
    }
  scratch.grow(largest - scratch.used());
}

/// Where a product goes that may be a parameter's gradient, which is f32 beside bf16 too: one of the two is null.
template <class T>
struct Product {
  T* data = nullptr;
  float* data_f32 = nullptr;
};

template <class T>
Product<T> parameter_gradient(float* data) {
  if constexpr (sizeof(T) == sizeof(float))
    return {data, nullptr};
  else
    return {nullptr, data};
}

template <class Kind, class T = typename Kind::Element>
void wgrad(Stream stream, Scratch& scratch, const Conv2dGeometry& g, const T* x, const T* dy, const float* bias,
           bool relu, Product<T> dw) {
  const int cp = padded<Kind>(g.c_per_group()), kp = padded<Kind>(g.k_per_group()), groups = to_int(g.groups);
  x = pad<Kind>(stream, scratch, g.n * g.h * g.w, 1, 1, g.groups, g.c_per_group(), x);
  dy = pad<Kind>(stream, scratch, g.n * g.p() * g.q(), 1, 1, g.groups, g.k_per_group(), dy);
  GemmArguments<T> a{};
  a.a = window<Kind>(g, x);
  a.b = Operand<T>{.data = dy, .pitch = kp * groups};
  a.c = Output<T>{.data = dw.data,
                  .data_f32 = dw.data_f32,
                  .bias = bias,
                  .relu = relu,
                  .pitch = to_int(g.k),
                  .channels = to_int(g.c_per_group()),
                  .padded = cp,
                  .contiguous = cp == to_int(g.c_per_group())};
  a.m = to_int(g.r * g.s) * cp;
  a.n = to_int(g.k_per_group());
  a.k = to_int(g.n * g.p() * g.q());
  a.groups = groups;
  a.a_group = cp;
  a.b_group = kp;
  a.n_group = a.n;
  multiply<Kind, Pass::wgrad>("conv2d_wgrad", stream, scratch, a);
}

/// C = A^T B^T, A stored [k, m], B [n, k].
template <class Kind, class T = typename Kind::Element>
void both_transposed(Stream stream, Scratch& scratch, const GemmGeometry& g, const T* a_stored, const T* b_stored,
                     const float* bias, bool relu, Product<T> c) {
  const int mp = padded<Kind>(g.m), kp = padded<Kind>(g.k);
  a_stored = pad<Kind>(stream, scratch, g.k, 1, 1, 1, g.m, a_stored);
  b_stored = pad<Kind>(stream, scratch, g.n, 1, 1, 1, g.k, b_stored);
  GemmArguments<T> a{};
  a.a = Gather<T>{.image = a_stored,
                  .images = to_int(g.k),
                  .h = 1,
                  .w = 1,
                  .pitch = mp,
                  .rows = 1,
                  .columns = 1,
                  .mul_h = 1,
                  .mul_w = 1,
                  .taps_h = 1,
                  .taps_w = 1,
                  .channels = mp};
  a.b = Operand<T>{.data = b_stored,
                   .pitch = kp,
                   .rows = to_int(g.n),
                   .filter_s = 1,
                   .step_r = 1,
                   .step_s = 1,
                   .taps_w = 1,
                   .channels = kp};
  a.c = Output<T>{.data = c.data, .data_f32 = c.data_f32, .bias = bias, .relu = relu, .pitch = to_int(g.n)};
  a.m = to_int(g.m);
  a.n = to_int(g.n);
  a.k = to_int(g.k);
  a.groups = 1;
  multiply<Kind, Pass::both_transposed>("gemm", stream, scratch, a);
}

/// With A as it is C has the elements' type: only transposed products are parameters' gradients.
template <class Kind, class T = typename Kind::Element>
void multiply_matrices(Stream stream, Scratch& scratch, const GemmGeometry& g, const T* a, const T* b,
                       const float* bias, bool relu, Product<T> c) {
  // A product is a convolution of 1 x 1 over images of one pixel.
  if (g.transpose_a && g.transpose_b)
    both_transposed<Kind>(stream, scratch, g, a, b, bias, relu, c);
  else if (g.transpose_a)
    wgrad<Kind>(stream, scratch, {.n = g.k, .c = g.m, .k = g.n}, a, b, bias, relu, c);
  else if (g.transpose_b)
    dgrad<Kind>(stream, scratch, {.n = g.m, .c = g.n, .k = g.k}, a, b, bias, relu, c.data);
  else
    fprop<Kind>(stream, scratch, {.n = g.m, .c = g.k, .k = g.n}, a, b, {.bias = bias, .relu = relu}, c.data);
}

template <class Kind, class T = typename Kind::Element>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  Scratch scratch;
  switch (pass) {
    case ConvPass::fprop: fprop<Kind, T>({}, scratch, g, nullptr, nullptr, {}, nullptr); break;
    case ConvPass::dgrad: dgrad<Kind, T>({}, scratch, g, nullptr, nullptr, nullptr, false, nullptr); break;
    case ConvPass::wgrad: wgrad<Kind, T>({}, scratch, g, nullptr, nullptr, nullptr, false, {}); break;
  }
  return scratch.used();
}

template <class Kind, class T = typename Kind::Element>
void conv2d_fprop(Stream stream, const Conv2dGeometry& g, const T* x, const T* w, const ConvEpilogue& epilogue, T* y,
                  void* workspace) {
  Scratch scratch(workspace);
  fprop<Kind>(stream, scratch, g, x, w, epilogue, y);
  clip_to_ceiling(stream, g, epilogue, y);
}

template <class Kind, class T = typename Kind::Element>
void conv2d_dgrad(Stream stream, const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  Scratch scratch(workspace);
  dgrad<Kind>(stream, scratch, g, dy, w, nullptr, false, dx);
}

template <class Kind, class T = typename Kind::Element>
void conv2d_wgrad(Stream stream, const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  Scratch scratch(workspace);
  wgrad<Kind>(stream, scratch, g, x, dy, nullptr, false, parameter_gradient<T>(dw));
}

template <class Kind, class T = typename Kind::Element>
std::size_t gemm_workspace_bytes(const GemmGeometry& g) {
  Scratch scratch;
  multiply_matrices<Kind, T>({}, scratch, g, nullptr, nullptr, nullptr, false, {});
  return scratch.used();
}

/// c is f32 or of the elements' type, as g.parameter_c says.
template <class Kind, class T = typename Kind::Element>
void gemm_run(Stream stream, const GemmGeometry& g, const T* a, const T* b, const float* bias, bool relu, void* c,
              void* workspace) {
  Scratch scratch(workspace);
  const bool gradient = g.parameter_c && g.transpose_a;
  const auto product =
      gradient ? parameter_gradient<T>(static_cast<float*>(c)) : Product<T>{static_cast<T*>(c), nullptr};
  multiply_matrices<Kind>(stream, scratch, g, a, b, bias, relu, product);
}

}  // namespace

template <class Kind>
Conv2dKernels conv2d() {
  return {.workspace_bytes = conv2d_workspace_bytes<Kind>,
          .fprop = entry<conv2d_fprop<Kind>>,
          .dgrad = entry<conv2d_dgrad<Kind>>,
          .wgrad = entry<conv2d_wgrad<Kind>>};
}

template <class Kind>
GemmKernels gemm() {
  return {.workspace_bytes = gemm_workspace_bytes<Kind>, .run = entry<gemm_run<Kind>>};
}

}  // namespace retort::RETORT_BACKEND
