// What the passes of the implicit GEMM share: how the workspace is cut, and how each pass divides its work.
//
// The workspace begins with one block_gemm scratch per thread; the pass's own buffer follows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv/patches.h"
#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/threads.h"

namespace retort::cpu {

template <class T>
void* thread_scratch(void* workspace, int thread) {
  return static_cast<char*>(workspace) + static_cast<std::size_t>(thread) * block_gemm_scratch_bytes<T>();
}

/// What follows the threads' scratch.
template <class T>
float* pass_buffer(void* workspace) {
  return static_cast<float*>(thread_scratch<T>(workspace, num_threads()));
}

/// Of a filter's gradient, f32 always.
inline std::size_t filter_bytes(const Conv2dGeometry& g) {
  return static_cast<std::size_t>(g.r * g.s * g.c_per_group() * g.k) * sizeof(float);
}

/// The patches of x that the outputs of a group see.
template <class T>
PatchGeometry<T> input_patches(const Conv2dGeometry& g, const T* x, std::int64_t group) {
  return {.x = x + group * g.c_per_group(),
          .h = g.h,
          .w = g.w,
          .pixel_stride = g.c,
          .p = g.p(),
          .q = g.q(),
          .stride_h = g.stride_h,
          .stride_w = g.stride_w,
          .offset_h = -g.pad_h,
          .offset_w = -g.pad_w,
          .taps_h = g.r,
          .taps_w = g.s,
          .tap_step_h = g.dilation_h,
          .tap_step_w = g.dilation_w,
          .channels = g.c_per_group()};
}

/// Patches as an operand of block_gemm, from row `first` on.
template <class T>
StoredA<T> stored_patches(const PatchGeometry<T>& patches, std::int64_t first = 0) {
  if (!patches.is_matrix()) return {};
  return {patches.x + first * patches.pixel_stride, patches.pixel_stride};
}

/// wgrad sums over all output positions. A small filter has too few elements to share out, so the positions are cut
/// into stretches instead: each sums into a filter of its own, and these are added up in a fixed order.
class WgradPlan {
 public:
  explicit WgradPlan(const Conv2dGeometry& geometry);
  std::int64_t stretches() const { return stretches_; }
  const TaskGrid& grid() const { return grid_; }
  /// The first stretch writes dw itself.
  std::size_t partial_bytes() const { return static_cast<std::size_t>(stretches_ - 1) * filter_bytes_; }

 private:
  std::size_t filter_bytes_;
  std::int64_t stretches_;
  TaskGrid grid_;
};

}  // namespace retort::cpu
