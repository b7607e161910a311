// A way to run the three passes of a convolution, as one of several that conv2d.cpp chooses from.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "kernels/conv2d.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace retort::cpu {

/// Conv2dKernels' passes, typed, of a geometry that the algorithm serves. T: of x, w and y, float or BFloat16.
template <class T>
using FpropPass = void (*)(const Conv2dGeometry&, const T* x, const T* w, const Epilogue<T>&, T* y, void* workspace);
template <class T>
using DgradPass = void (*)(const Conv2dGeometry&, const T* dy, const T* w, T* dx, void* workspace);
template <class T>
using WgradPass = void (*)(const Conv2dGeometry&, const T* x, const T* dy, float* dw, void* workspace);

/// PreparedFilterKernels' functions, typed.
template <class T>
struct PreparedFilter {
  std::size_t (*bytes)(const Conv2dGeometry&);
  void (*prepare)(const Conv2dGeometry&, const T* w, void* prepared);
  void (*fprop)(const Conv2dGeometry&, const T* x, const void* prepared, const Epilogue<T>&, T* y, void* workspace);
};

template <class T>
struct ConvAlgorithm {
  /// Whether the pass runs this way.
  bool (*serves)(ConvPass, const Conv2dGeometry&);
  /// For the present num_threads(); asked for again when that changes.
  std::size_t (*workspace_bytes)(ConvPass, const Conv2dGeometry&);
  FpropPass<T> fprop;
  DgradPass<T> dgrad;
  WgradPass<T> wgrad;
  std::optional<PreparedFilter<T>> prepared = {};
};

/// What conv2d chooses from at the present level of instructions, in the order in which they are asked: Winograd's in
/// two dimensions, along a line, one filter a channel, and the implicit GEMM, which serves all.
template <class T>
std::span<const ConvAlgorithm<T>> conv_algorithms();

}  // namespace retort::cpu
