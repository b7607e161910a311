// Gathering patches of an NHWC image batch: the implicit im2col of the CPU's convolutions. Row `i` of the virtual
// matrix belongs to one output position; its elements run over (tap row, tap column, channel). Only small blocks of it
// are ever written, into a caller's panel (patches-inl.h).
#pragma once

#include <cstdint>

namespace retort::cpu {

/// T: of the elements, float or BFloat16.
template <class T>
struct PatchGeometry {
  const T* x;  ///< [n, h, w, pixel_stride], at the first channel wanted
  std::int64_t h, w, pixel_stride;
  std::int64_t p, q;                ///< output positions of an image
  std::int64_t stride_h, stride_w;  ///< pixels between neighbouring positions
  std::int64_t offset_h, offset_w;  ///< from a position to its first tap; negative inside padding
  std::int64_t taps_h, taps_w;
  std::int64_t tap_step_h, tap_step_w;  ///< pixels between neighbouring taps
  std::int64_t channels;                ///< of one tap

  std::int64_t depth() const { return taps_h * taps_w * channels; }
  /// Row i is pixel i, and the whole a matrix with rows pixel_stride apart.
  bool is_matrix() const {
    return taps_h * taps_w == 1 && stride_h == 1 && stride_w == 1 && offset_h == 0 && offset_w == 0 && p == h && q == w;
  }
};

}  // namespace retort::cpu
