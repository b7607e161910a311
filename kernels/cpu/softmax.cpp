// Softmax with temperature and its gradient, a row at a time: T in and out, float or BFloat16, double inside (contract:
// kernels/softmax.h).
#include "kernels/softmax.h"

#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

std::int64_t rows_per_task(Rows rows) { return 4096 / rows.classes + 1; }

template <class T>
void forward_row(std::int64_t classes, double temperature, const T* x, T* y) {
  const auto largest = hn::Set(F64(), row_maximum(x, classes)), by = hn::Set(F64(), 1 / temperature);
  const auto weight = [&](auto lanes, std::int64_t i)
                          HWY_ATTR { return exponential(hn::Mul(hn::Sub(load_wide(lanes, x + i), largest), by)); };
  auto sum = hn::Zero(F64());
  vector_loop(F64(), 0, classes,
              [&](auto lanes, std::int64_t i) HWY_ATTR { sum = hn::Add(sum, or_beyond(lanes, weight(lanes, i), 0)); });
  const auto share = hn::Set(F64(), 1 / total(sum));
  vector_loop(F64(), 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    store_narrow(lanes, hn::Mul(weight(lanes, i), share), y + i);
  });
}

template <class T>
void backward_row(std::int64_t classes, double temperature, const T* y, const T* dy, T* dx) {
  auto dot = hn::Zero(F64());
  vector_loop(F64(), 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    dot = hn::MulAdd(load_wide(lanes, y + i), load_wide(lanes, dy + i), dot);
  });
  const auto mean = hn::Set(F64(), total(dot)), by = hn::Set(F64(), 1 / temperature);
  vector_loop(F64(), 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V64 centred = hn::Sub(load_wide(lanes, dy + i), mean);
    store_narrow(lanes, hn::Mul(hn::Mul(load_wide(lanes, y + i), centred), by), dx + i);
  });
}

template <class T>
void forward(Stream, Rows rows, double temperature, const T* x, T* y) {
  parallel_for(rows.rows, rows_per_task(rows), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin * rows.classes; at < end * rows.classes; at += rows.classes)
      forward_row(rows.classes, temperature, x + at, y + at);
  });
}

template <class T>
void backward(Stream, Rows rows, double temperature, const T* y, const T* dy, T* dx) {
  parallel_for(rows.rows, rows_per_task(rows), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin * rows.classes; at < end * rows.classes; at += rows.classes)
      backward_row(rows.classes, temperature, y + at, dy + at, dx + at);
  });
}

}  // namespace

template <class T>
SoftmaxKernels softmax() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}

template SoftmaxKernels softmax<float>();
template SoftmaxKernels softmax<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
