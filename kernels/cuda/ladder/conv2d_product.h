// A convolution as the matrix product that it is, for the steps of the ladder: per group, C [m, n] = A [m, depth]
// B [depth, n]. A row is an output pixel, a column an output channel, and depth counts (r, s, c): A is never stored,
// its elements are looked up in the image.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

/// A ConvEpilogue in f32.
struct Finish {
  explicit Finish(const ConvEpilogue& e)
      : scale(static_cast<const float*>(e.scale)),
        bias(static_cast<const float*>(e.bias)),
        residual(static_cast<const float*>(e.residual)),
        relu(e.relu),
        ceiling(e.ceiling) {}
  const float *scale, *bias, *residual;
  bool relu;
  float ceiling;
};

/// The geometry in ints, which the device divides faster, with what follows from it.
struct ConvProduct {
  int h, w, c, k, s, p, q;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int groups, channels;  ///< channels of one group
  int m, n, depth;       ///< of one group's product

  explicit ConvProduct(const Conv2dGeometry& g)
      : h(static_cast<int>(g.h)),
        w(static_cast<int>(g.w)),
        c(static_cast<int>(g.c)),
        k(static_cast<int>(g.k)),
        s(static_cast<int>(g.s)),
        p(static_cast<int>(g.p())),
        q(static_cast<int>(g.q())),
        stride_h(static_cast<int>(g.stride_h)),
        stride_w(static_cast<int>(g.stride_w)),
        pad_h(static_cast<int>(g.pad_h)),
        pad_w(static_cast<int>(g.pad_w)),
        dilation_h(static_cast<int>(g.dilation_h)),
        dilation_w(static_cast<int>(g.dilation_w)),
        groups(static_cast<int>(g.groups)),
        channels(static_cast<int>(g.c_per_group())),
        m(static_cast<int>(g.n) * p * q),
        n(static_cast<int>(g.k_per_group())),
        depth(static_cast<int>(g.r) * s * channels) {}

  /// A grid of one block for each tile of C (x, the columns' tiles fastest) of each group (y).
  dev::Dim3 grid(int tile_m, int tile_n) const {
    return {static_cast<unsigned>((m + tile_m - 1) / tile_m) * static_cast<unsigned>((n + tile_n - 1) / tile_n),
            static_cast<unsigned>(groups)};
  }

  /// Where A's element (row, i) lies in x, or -1 for one that counts as 0: in the padding, or outside the matrix.
  __device__ std::int64_t patch(int group, int row, int i) const {
    if (row >= m || i >= depth) return -1;
    const int tap = i / channels, pixel = row % (p * q), image = row / (p * q);
    const int y = pixel / q * stride_h - pad_h + tap / s * dilation_h;
    const int x = pixel % q * stride_w - pad_w + tap % s * dilation_w;
    if (y < 0 || y >= h || x < 0 || x >= w) return -1;
    return ((std::int64_t{image} * h + y) * w + x) * c + group * channels + i % channels;
  }
  /// Where B's element (i, column) lies in w, or -1 outside the matrix.
  __device__ std::int64_t filter(int group, int i, int column) const {
    return i < depth && column < n ? std::int64_t{i} * k + group * n + column : -1;
  }
  /// Finishes C's element (row, column), if there is one, and writes it.
  __device__ void write(int group, int row, int column, float sum, const Finish& finish, float* y) const {
    if (row >= m || column >= n) return;
    const int channel = group * n + column;
    const std::int64_t at = std::int64_t{row} * k + channel;
    if (finish.scale) sum *= finish.scale[channel];
    if (finish.bias) sum += finish.bias[channel];
    if (finish.residual) sum += finish.residual[at];
    if (finish.relu) sum = sum < 0 ? 0 : sum > finish.ceiling ? finish.ceiling : sum;
    y[at] = sum;
  }
};

}  // namespace retort::RETORT_BACKEND
