// The seam between typed kernels and the tables: a table's entries take the elements as void*, kernels as what they
// are.
//
//   template <class T>
//   void double_it(Stream, std::int64_t n, const T* x, T* y);        // the kernel, typed, in an anonymous namespace
//
//   template <class T>
//   ElementwiseKernels elementwise() {
//     return {.double_it = entry<double_it<T>>, ...};                // its entry: (Stream, n, const void*, void*)
//   }
#pragma once

#include <type_traits>

#include "kernels/bfloat16.h"

namespace retort {

template <class T>
inline constexpr bool is_element = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, BFloat16>;

namespace detail {

/// A parameter as tables have it: pointers to elements become pointers to void, everything else stays.
template <class T>
struct ErasedParameter {
  using type = T;
};
template <class T>
requires is_element<T>
struct ErasedParameter<T*> {
  using type = void*;
};
template <class T>
requires is_element<T>
struct ErasedParameter<const T*> {
  using type = const void*;
};
template <class T>
using Erased = typename ErasedParameter<T>::type;

template <auto function>
struct Entry;
template <class Result, class... Args, Result (*function)(Args...)>
struct Entry<function> {
  static Result call(Erased<Args>... args) { return function(static_cast<Args>(args)...); }
};

}  // namespace detail

/// A pointer to `function` with its element pointers erased: what a table's entry is made from.
template <auto function>
inline constexpr auto entry = &detail::Entry<function>::call;

}  // namespace retort
