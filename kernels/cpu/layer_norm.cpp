// Layer normalisation with vectors and threads (contract: kernels/layer_norm.h). T: float or BFloat16; elements are
// float, a row's sums are added in float by lane and the lanes in double, rows in blocks of 64 and the blocks in
// double.
#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/layer_norm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kBlock = 64;  // rows whose share of the parameters' gradients is added in float

std::int64_t rows_per_task(const LayerNormGeometry& g) { return 8192 / g.channels + 1; }
HWY_INLINE V32 set(float value) { return hn::Set(F32(), value); }

template <class T>
void forward(Stream, const LayerNormGeometry& g, const T* x, const float* gamma, const float* beta, T* y, float* mean,
             float* inv_std) {
  parallel_for(g.rows, rows_per_task(g), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const T* from = x + row * g.channels;
      T* to = y + row * g.channels;
      Sum sum, squares;
      vector_loop(d, 0, g.channels,
                  [&](auto lanes, std::int64_t c) HWY_ATTR { sum.add(lanes, lanes.load(d, from + c)); });
      mean[row] = static_cast<float>(sum.in_double() / static_cast<double>(g.channels));
      const V32 centre = set(mean[row]);
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const V32 off = hn::Sub(lanes.load(d, from + c), centre);
        squares.add_product(lanes, off, off);
      });
      inv_std[row] = static_cast<float>(1 / std::sqrt(squares.in_double() / static_cast<double>(g.channels) + g.eps));
      const V32 r = set(inv_std[row]);
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const V32 h = hn::Mul(hn::Sub(lanes.load(d, from + c), centre), r);
        lanes.store(d, hn::MulAdd(h, lanes.load(d, gamma + c), lanes.load(d, beta + c)), to + c);
      });
    }
  });
}

template <class T>
void backward_input(Stream, const LayerNormGeometry& g, const T* x, const float* gamma, const float* mean,
                    const float* inv_std, const T* dy, T* dx) {
  parallel_for(g.rows, rows_per_task(g), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const T *in = x + row * g.channels, *from = dy + row * g.channels;
      T* to = dx + row * g.channels;
      const V32 centre = set(mean[row]), r = set(inv_std[row]);
      Sum sum, product;
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const V32 weighted = hn::Mul(lanes.load(d, from + c), lanes.load(d, gamma + c));
        sum.add(lanes, weighted);
        product.add_product(lanes, weighted, hn::Mul(hn::Sub(lanes.load(d, in + c), centre), r));
      });
      const auto channels = static_cast<double>(g.channels);
      const V32 average = set(static_cast<float>(sum.in_double() / channels)),
                slope = set(static_cast<float>(product.in_double() / channels));
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const V32 weighted = hn::Mul(lanes.load(d, from + c), lanes.load(d, gamma + c));
        const V32 h = hn::Mul(hn::Sub(lanes.load(d, in + c), centre), r);
        lanes.store(d, hn::Mul(r, hn::NegMulAdd(h, slope, hn::Sub(weighted, average))), to + c);
      });
    }
  });
}

/// Of each block of rows, what it adds to dgamma and to dbeta.
std::size_t backward_parameters_workspace_bytes(const LayerNormGeometry& g) {
  return static_cast<std::size_t>((g.rows + kBlock - 1) / kBlock * 2 * g.channels) * sizeof(float);
}

template <class T>
void backward_parameters(Stream, const LayerNormGeometry& g, const T* x, const float* mean, const float* inv_std,
                         const T* dy, float* dgamma, float* dbeta, void* workspace) {
  float* const partial = static_cast<float*>(workspace);
  const std::int64_t blocks = (g.rows + kBlock - 1) / kBlock;
  parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t block = begin; block < end; ++block) {
      float* const sums = partial + block * 2 * g.channels;
      const std::int64_t first = block * kBlock, last = std::min(g.rows, first + kBlock);
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d), product = hn::Zero(d);
        for (std::int64_t row = first; row < last; ++row) {
          const V32 gradient = lanes.load(d, dy + row * g.channels + c);
          const V32 off = hn::Sub(lanes.load(d, x + row * g.channels + c), set(mean[row]));
          sum = hn::Add(sum, gradient);
          product = hn::MulAdd(gradient, hn::Mul(off, set(inv_std[row])), product);
        }
        lanes.store(d, product, sums + c);
        lanes.store(d, sum, sums + g.channels + c);
      });
    }
  });
  const auto add_blocks = [&](std::int64_t at) {
    double sum = 0;
    for (std::int64_t block = 0; block < blocks; ++block) sum += partial[block * 2 * g.channels + at];
    return static_cast<float>(sum);
  };
  parallel_for(g.channels, 8192 / (blocks + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      dgamma[c] = add_blocks(c);
      dbeta[c] = add_blocks(g.channels + c);
    }
  });
}

}  // namespace

template <class T>
LayerNormKernels layer_norm() {
  return {.forward = entry<forward<T>>,
          .backward_input = entry<backward_input<T>>,
          .backward_parameters_workspace_bytes = backward_parameters_workspace_bytes,
          .backward_parameters = entry<backward_parameters<T>>};
}

template LayerNormKernels layer_norm<float>();
template LayerNormKernels layer_norm<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
