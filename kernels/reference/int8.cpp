// The oracle of 8-bit inference (contract: kernels/int8.h). A packed filter is a copy; sums are taken in 64 bits, the
// rest in float, fused where the contract has a product and a sum.
#include "kernels/int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace retort::reference {
namespace {

constexpr std::int32_t kMost = 255;
constexpr float kMostWeight = 127;

std::int64_t depth(const Conv2dGeometry& g) { return g.r * g.s * g.c; }

/// Rounds to the nearest, ties to even.
std::uint8_t to_byte(float value, float low) {
  return static_cast<std::uint8_t>(std::nearbyint(std::min(std::max(value, low), static_cast<float>(kMost))));
}

// ---- Convolution: packed are the scales, the biases, the weights ----

std::size_t packed_bytes(const Conv2dGeometry& g) {
  return static_cast<std::size_t>(g.k) * 2 * sizeof(float) + static_cast<std::size_t>(depth(g) * g.k);
}

std::size_t workspace_bytes(const Conv2dGeometry&) { return 0; }

void pack(const Conv2dGeometry& g, const Int8Filter& filter, void* packed) {
  auto* const numbers = static_cast<float*>(packed);
  std::copy_n(filter.scale, g.k, numbers);
  std::copy_n(filter.bias, g.k, numbers + g.k);
  std::copy_n(filter.weight, depth(g) * g.k, reinterpret_cast<std::int8_t*>(numbers + 2 * g.k));
}

std::int64_t sum_of(const Conv2dGeometry& g, std::int32_t zero, const std::uint8_t* image, const std::int8_t* weight,
                    std::int64_t p, std::int64_t q, std::int64_t k) {
  std::int64_t sum = 0;
  for (std::int64_t r = 0; r < g.r; ++r)
    for (std::int64_t s = 0; s < g.s; ++s) {
      const std::int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
      const std::int64_t w = q * g.stride_w - g.pad_w + s * g.dilation_w;
      if (h < 0 || h >= g.h || w < 0 || w >= g.w) continue;
      for (std::int64_t c = 0; c < g.c; ++c)
        sum += (image[(h * g.w + w) * g.c + c] - zero) * weight[((r * g.s + s) * g.c + c) * g.k + k];
    }
  return sum;
}

void conv(Stream, const Conv2dGeometry& g, std::int32_t zero, const std::uint8_t* x, const void* packed,
          const Int8Epilogue& epilogue, void* y, void*) {
  const auto* const scale = static_cast<const float*>(packed);
  const float* const bias = scale + g.k;
  const auto* const weight = reinterpret_cast<const std::int8_t*>(bias + g.k);
  std::int64_t at = 0;
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t k = 0; k < g.k; ++k, ++at) {
          const auto sum = static_cast<std::int32_t>(sum_of(g, zero, x + n * g.h * g.w * g.c, weight, p, q, k));
          if (epilogue.y == DType::i32) {
            static_cast<std::int32_t*>(y)[at] = sum;
            continue;
          }
          float value = std::fma(static_cast<float>(sum), scale[k], bias[k]);
          if (epilogue.residual)
            value = std::fma(static_cast<float>(epilogue.residual[at]), epilogue.residual_scale, value);
          if (epilogue.y == DType::f32)
            static_cast<float*>(y)[at] = std::min(std::max(value, epilogue.low), epilogue.high);
          else
            static_cast<std::uint8_t*>(y)[at] = to_byte(value, epilogue.low);
        }
}

// ---- Elements and pooling ----

void quantize(Stream, std::int64_t n, Quantization q, const float* x, std::uint8_t* y) {
  const float factor = 1 / q.scale;
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = std::fma(x[i], factor, static_cast<float>(q.zero));
    y[i] = to_byte(std::isnan(value) ? 0 : value, 0);
  }
}

void dequantize(Stream, std::int64_t n, Quantization q, const std::uint8_t* x, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = q.scale * static_cast<float>(x[i] - q.zero);
}

void add(Stream, std::int64_t n, const std::uint8_t* a, float factor_a, const std::uint8_t* b, float factor_b,
         float offset, float low, std::uint8_t* y) {
  for (std::int64_t i = 0; i < n; ++i)
    y[i] = to_byte(std::fma(static_cast<float>(a[i]), factor_a, std::fma(static_cast<float>(b[i]), factor_b, offset)),
                   low);
}

void lookup(Stream, std::int64_t rows, std::int64_t channels, const std::uint8_t* table, const std::uint8_t* x,
            std::int64_t stride, std::int64_t begin, std::uint8_t* y) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < channels; ++j) y[i * stride + begin + j] = table[x[i * channels + j]];
}

void max_pool(Stream, const Pool2dGeometry& g, const std::uint8_t* x, std::uint8_t* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t c = 0; c < g.c; ++c) {
          std::uint8_t most = 0;
          for (std::int64_t i = 0; i < g.kernel_h; ++i)
            for (std::int64_t j = 0; j < g.kernel_w; ++j) {
              const std::int64_t h = p * g.stride_h - g.pad_h + i, w = q * g.stride_w - g.pad_w + j;
              if (h >= 0 && h < g.h && w >= 0 && w < g.w) most = std::max(most, x[((n * g.h + h) * g.w + w) * g.c + c]);
            }
          *y++ = most;
        }
}

void mean(Stream, std::int64_t n, std::int64_t pixels, std::int64_t c, Quantization q, const std::uint8_t* x,
          float* y) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < c; ++j) {
      std::int64_t sum = 0;
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) sum += x[(i * pixels + pixel) * c + j];
      y[i * c + j] = static_cast<float>(sum - pixels * q.zero) * (q.scale / static_cast<float>(pixels));
    }
}

void round_weight(Stream, std::int64_t rows, std::int64_t out, const float* x, float* y) {
  for (std::int64_t k = 0; k < out; ++k) {
    float most = 0;
    for (std::int64_t i = 0; i < rows; ++i) most = std::max(most, std::abs(x[i * out + k]));
    const float scale = most > 0 ? most / kMostWeight : 1;
    for (std::int64_t i = 0; i < rows; ++i) y[i * out + k] = std::nearbyint(x[i * out + k] / scale) * scale;
  }
}

}  // namespace

const Int8Kernels& int8_kernels() {
  static const Int8Kernels kernels = {.packed_bytes = packed_bytes,
                                      .workspace_bytes = workspace_bytes,
                                      .pack = pack,
                                      .conv = conv,
                                      .quantize = quantize,
                                      .dequantize = dequantize,
                                      .add = add,
                                      .lookup = lookup,
                                      .max_pool = max_pool,
                                      .mean = mean,
                                      .round_weight = round_weight};
  return kernels;
}

}  // namespace retort::reference
