// The two passes of antialiased resizing: weighted sums of rows, then of pixels along a row.
//
// Products and sums are rounded one by one, and added in the order of the taps: the bits of a view do not depend on the
// instruction set.
#pragma once

#include <cstdint>

namespace retort {

/// out[i] = sum over k < taps of weights[k] * rows[k * stride + i], for i < n.
void weigh_rows(std::int64_t n, const std::uint8_t* rows, std::int64_t stride, std::int64_t taps, const float* weights,
                float* out);

/// The filter of a row: output pixel i is the sum over k < taps of weights[i * taps + k] * (input pixel first[i] + k).
struct RowFilter {
  std::int64_t outputs, taps;
  const std::int64_t* first;
  const float* weights;
};
/// Floats that must be readable beyond a row's last pixel that has a weight: weights of 0 fill a filter up to `taps`.
inline std::int64_t row_padding(const RowFilter& filter) { return 3 * filter.taps + 1; }
/// Filters a row of RGB pixels into out [outputs, 3].
void filter_row_rgb(const RowFilter& filter, const float* row, float* out);
/// Filters a row of grey pixels into out [outputs].
void filter_row_grey(const RowFilter& filter, const float* row, float* out);

}  // namespace retort
