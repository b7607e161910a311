// Rows of unit length with vectors and threads (contract: kernels/normalize.h). T: float or BFloat16; elements are
// float, a row's sums are added in float by lane and the lanes in double.
#include "kernels/normalize.h"

#include <cmath>

#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/normalize.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

std::int64_t rows_per_task(Rows rows) { return 8192 / rows.classes + 1; }

template <class T>
void forward(Stream, Rows rows, const T* x, T* y, float* inverse) {
  parallel_for(rows.rows, rows_per_task(rows), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const T* from = x + row * rows.classes;
      T* to = y + row * rows.classes;
      Sum squares;
      vector_loop(d, 0, rows.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
        const V32 value = lanes.load(d, from + i);
        squares.add_product(lanes, value, value);
      });
      inverse[row] = static_cast<float>(1 / std::sqrt(squares.in_double() + kLengthFloor * kLengthFloor));
      const V32 by = hn::Set(d, inverse[row]);
      vector_loop(d, 0, rows.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
        lanes.store(d, hn::Mul(lanes.load(d, from + i), by), to + i);
      });
    }
  });
}

template <class T>
void backward(Stream, Rows rows, const T* y, const float* inverse, const T* dy, T* dx) {
  parallel_for(rows.rows, rows_per_task(rows), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const T *of_y = y + row * rows.classes, *from = dy + row * rows.classes;
      T* to = dx + row * rows.classes;
      Sum sum;
      vector_loop(d, 0, rows.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
        sum.add_product(lanes, lanes.load(d, of_y + i), lanes.load(d, from + i));
      });
      const V32 along = hn::Set(d, static_cast<float>(sum.in_double())), by = hn::Set(d, inverse[row]);
      vector_loop(d, 0, rows.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
        const V32 across = hn::NegMulAdd(lanes.load(d, of_y + i), along, lanes.load(d, from + i));
        lanes.store(d, hn::Mul(across, by), to + i);
      });
    }
  });
}

}  // namespace

template <class T>
NormalizeKernels normalize() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}

template NormalizeKernels normalize<float>();
template NormalizeKernels normalize<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
