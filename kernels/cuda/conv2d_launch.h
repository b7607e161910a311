// What the launchers of convolutions and products share: workspace, the taps of a residue class, and how the parts of a
// product that is cut along k are added.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/activation.h"
#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

template <class T>
ActivationKernels activation();

inline int to_int(std::int64_t value) { return static_cast<int>(value); }

/// Hands out the workspace, or only adds up what would be handed out.
class Scratch {
 public:
  /// Sizing: nothing is launched.
  Scratch() = default;
  explicit Scratch(void* memory) : memory_(static_cast<char*>(memory)), sizing_(false) {}
  bool sizing() const { return sizing_; }
  /// Memory for n elements, aligned to 256 bytes; null while sizing.
  template <class T>
  T* take(std::int64_t n) {
    char* const at = sizing_ ? nullptr : memory_ + used_;
    grow(static_cast<std::size_t>(n) * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  void grow(std::size_t bytes) { used_ += (bytes + 255) / 256 * 256; }
  std::size_t used() const { return used_; }

 private:
  char* memory_ = nullptr;
  bool sizing_ = true;
  std::size_t used_ = 0;
};

/// The taps of one axis that reach inputs of a residue class, as an arithmetic progression.
struct Taps {
  int first = 0, step = 1, count = 0;  ///< of the filter's taps
  int offset = 0, move = 0;            ///< output = grid + offset + i * move
};

inline Taps taps_of_class(std::int64_t residue, std::int64_t pad, std::int64_t stride, std::int64_t dilation,
                          std::int64_t extent) {
  Taps taps;
  const std::int64_t step = stride / std::gcd(stride, dilation);
  for (std::int64_t r = 0; r < std::min(extent, step); ++r) {
    if ((residue + pad - r * dilation) % stride != 0) continue;
    taps.first = to_int(r);
    taps.step = to_int(step);
    taps.count = to_int((extent - r + step - 1) / step);
    taps.offset = to_int((residue + pad - r * dilation) / stride);
    taps.move = -to_int(step * dilation / stride);
    break;
  }
  return taps;
}

/// What a convolution forward writes to y, of `pitch` channels.
template <class T>
Output<T> output_of(const ConvEpilogue& epilogue, T* y, std::int64_t pitch) {
  return Output<T>{.data = y,
                   .scale = static_cast<const float*>(epilogue.scale),
                   .bias = static_cast<const float*>(epilogue.bias),
                   .residual = static_cast<const T*>(epilogue.residual),
                   .relu = epilogue.relu,
                   .pitch = to_int(pitch)};
}

/// A pass over y for an epilogue's ceiling, which the products' own do not know: few networks have one.
template <class T>
void clip_to_ceiling(Stream stream, const Conv2dGeometry& g, const ConvEpilogue& epilogue, T* y) {
  if (!epilogue.relu || epilogue.ceiling == std::numeric_limits<float>::infinity()) return;
  const Activation clip{ActivationKind::clip, 0, epilogue.ceiling};
  activation<T>().forward(stream, clip, g.n * g.p() * g.q() * g.k, y, y);
}

/// C from g.partial, whose parts are added in order; conv2d-inl.h.
template <class T, Pass kPass>
void add_parts(Stream stream, GemmArguments<T> g, int parts);

}  // namespace retort::RETORT_BACKEND
