// The CPU backend's convolution (contract: kernels/conv2d.h): each pass runs by the first of a list of algorithms that
// serves its geometry.
#include "kernels/conv2d.h"

#include <algorithm>
#include <span>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/conv2d.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> winograd();
template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> winograd_line();
template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> depthwise();
template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> implicit_gemm();

/// In the order in which they are asked. The last one serves all.
template <class Arithmetic>
std::span<const ConvAlgorithm<typename Arithmetic::Element>> conv_algorithms() {
  static const ConvAlgorithm<typename Arithmetic::Element> algorithms[] = {
      winograd<Arithmetic>(), winograd_line<Arithmetic>(), depthwise<Arithmetic>(), implicit_gemm<Arithmetic>()};
  return algorithms;
}

namespace {

template <class Arithmetic>
const ConvAlgorithm<typename Arithmetic::Element>& algorithm_for(ConvPass pass, const Conv2dGeometry& g) {
  const auto algorithms = conv_algorithms<Arithmetic>();
  return *std::find_if(algorithms.begin(), algorithms.end(),
                       [&](const auto& algorithm) { return algorithm.serves(pass, g); });
}

template <class Arithmetic>
std::size_t workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  return algorithm_for<Arithmetic>(pass, g).workspace_bytes(pass, g);
}

template <class T>
Epilogue<T> typed(const ConvEpilogue& epilogue) {
  return {.scale = static_cast<const float*>(epilogue.scale),
          .bias = static_cast<const float*>(epilogue.bias),
          .residual = static_cast<const T*>(epilogue.residual),
          .relu = epilogue.relu,
          .ceiling = epilogue.ceiling};
}

template <class Arithmetic, class T>
void fprop(Stream, const Conv2dGeometry& g, const T* x, const T* w, const ConvEpilogue& epilogue, T* y,
           void* workspace) {
  algorithm_for<Arithmetic>(ConvPass::fprop, g).fprop(g, x, w, typed<T>(epilogue), y, workspace);
}

template <class Arithmetic>
std::size_t prepared_bytes(const Conv2dGeometry& g) {
  const auto& prepared = algorithm_for<Arithmetic>(ConvPass::fprop, g).prepared;
  return prepared ? prepared->bytes(g) : 0;
}

template <class Arithmetic, class T>
void prepare(Stream, const Conv2dGeometry& g, const T* w, void* prepared) {
  algorithm_for<Arithmetic>(ConvPass::fprop, g).prepared->prepare(g, w, prepared);
}

template <class Arithmetic, class T>
void fprop_prepared(Stream, const Conv2dGeometry& g, const T* x, const void* prepared, const ConvEpilogue& epilogue,
                    T* y, void* workspace) {
  algorithm_for<Arithmetic>(ConvPass::fprop, g).prepared->fprop(g, x, prepared, typed<T>(epilogue), y, workspace);
}

template <class Arithmetic, class T>
void dgrad(Stream, const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  algorithm_for<Arithmetic>(ConvPass::dgrad, g).dgrad(g, dy, w, dx, workspace);
}

template <class Arithmetic, class T>
void wgrad(Stream, const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  algorithm_for<Arithmetic>(ConvPass::wgrad, g).wgrad(g, x, dy, dw, workspace);
}

}  // namespace

template <class Arithmetic>
Conv2dKernels conv2d() {
  using T = typename Arithmetic::Element;
  return {.workspace_bytes = workspace_bytes<Arithmetic>,
          .fprop = entry<fprop<Arithmetic, T>>,
          .dgrad = entry<dgrad<Arithmetic, T>>,
          .wgrad = entry<wgrad<Arithmetic, T>>,
          .uneven_padding = true,
          .prepared = PreparedFilterKernels{.bytes = prepared_bytes<Arithmetic>,
                                            .prepare = entry<prepare<Arithmetic, T>>,
                                            .fprop = entry<fprop_prepared<Arithmetic, T>>}};
}

template Conv2dKernels conv2d<FloatArithmetic>();
template Conv2dKernels conv2d<WidenedBf16>();
template std::span<const ConvAlgorithm<float>> conv_algorithms<FloatArithmetic>();
template std::span<const ConvAlgorithm<BFloat16>> conv_algorithms<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template Conv2dKernels conv2d<NativeBf16>();
template std::span<const ConvAlgorithm<BFloat16>> conv_algorithms<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
