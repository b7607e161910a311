#include "kernels/cpu/softmax.h"

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

template <class T>
void softmax_row(std::int64_t classes, double temperature, const T* x, T* y) {
  const auto largest = hn::Set(F64(), row_maximum(x, classes)), by = hn::Set(F64(), 1 / temperature);
  const auto weight = [&](auto span, std::int64_t i)
                          HWY_ATTR { return exponential(hn::Mul(hn::Sub(load_wide(span, x + i), largest), by)); };
  auto sum = hn::Zero(F64());
  vector_loop(F64(), 0, classes,
              [&](auto span, std::int64_t i) HWY_ATTR { sum = hn::Add(sum, or_beyond(span, weight(span, i), 0)); });
  const auto share = hn::Set(F64(), 1 / total(sum));
  vector_loop(F64(), 0, classes,
              [&](auto span, std::int64_t i) HWY_ATTR { store_narrow(span, hn::Mul(weight(span, i), share), y + i); });
}

template <class T>
void softmax_backward_row(std::int64_t classes, double temperature, const T* y, const T* dy, T* dx) {
  auto dot = hn::Zero(F64());
  vector_loop(F64(), 0, classes, [&](auto span, std::int64_t i) HWY_ATTR {
    dot = hn::MulAdd(load_wide(span, y + i), load_wide(span, dy + i), dot);
  });
  const auto mean = hn::Set(F64(), total(dot)), by = hn::Set(F64(), 1 / temperature);
  vector_loop(F64(), 0, classes, [&](auto span, std::int64_t i) HWY_ATTR {
    const V64 centred = hn::Sub(load_wide(span, dy + i), mean);
    store_narrow(span, hn::Mul(hn::Mul(load_wide(span, y + i), centred), by), dx + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

std::int64_t rows_per_task(Rows rows) { return 4096 / rows.classes + 1; }

}  // namespace

template <class T>
void softmax_forward(Stream, Rows rows, double temperature, const void* x, void* y) {
  const auto row_kernel = RETORT_SIMD_SELECT(softmax_row<T>);
  parallel_for(rows.rows, rows_per_task(rows), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin * rows.classes; at < end * rows.classes; at += rows.classes)
      row_kernel(rows.classes, temperature, static_cast<const T*>(x) + at, static_cast<T*>(y) + at);
  });
}

template <class T>
void softmax_backward(Stream, Rows rows, double temperature, const void* y, const void* dy, void* dx) {
  const auto row_kernel = RETORT_SIMD_SELECT(softmax_backward_row<T>);
  parallel_for(rows.rows, rows_per_task(rows), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin * rows.classes; at < end * rows.classes; at += rows.classes)
      row_kernel(rows.classes, temperature, static_cast<const T*>(y) + at, static_cast<const T*>(dy) + at,
                 static_cast<T*>(dx) + at);
  });
}

template void softmax_forward<float>(Stream, Rows, double, const void*, void*);
template void softmax_forward<BFloat16>(Stream, Rows, double, const void*, void*);
template void softmax_backward<float>(Stream, Rows, double, const void*, const void*, void*);
template void softmax_backward<BFloat16>(Stream, Rows, double, const void*, const void*, void*);

}  // namespace retort::cpu
#endif
