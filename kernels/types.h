// What every kernel header shares: element types, the stream, and the non-null entry of a kernel table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace retort {

/// Element type of a buffer. Kernels compute in f32, or in f64 on the reference backend; i64 holds labels, i32 the
/// indices of max pooling; u8 and i8 are the activations and weights of 8-bit inference (kernels/int8.h).
///
/// A bf16 table holds activations, their gradients and the filters it multiplies in bf16, adds in f32, and keeps in f32
/// whatever belongs to a parameter or a channel: bias, gamma, beta, statistics, the gradients of parameters, losses.
enum class DType : std::uint8_t { f32, f64, i64, i32, bf16, u8, i8 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  return dtype == DType::u8 || dtype == DType::i8     ? 1
         : dtype == DType::bf16                       ? 2
         : dtype == DType::f32 || dtype == DType::i32 ? 4
                                                      : 8;
}

/// Whether elements of a dtype are floating-point numbers, in which networks train.
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16; }

/// The dtype of parameters, their gradients and losses beside activations of a dtype.
constexpr DType parameter_dtype(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

/// Where a kernel runs. `reference` is the slow oracle on the CPU, `simt` the simulator that runs the CUDA kernels.
enum class Device : std::uint8_t { cpu, reference, cuda, simt };

/// The queue on which a kernel is launched; null is the backend's own. CPU backends run at once and ignore it.
struct Stream {
  void* handle = nullptr;
};

/// A function pointer that cannot be null: a table with a forgotten entry does not compile.
template <class Signature>
class Required;

template <class Result, class... Args>
class Required<Result(Args...)> {
 public:
  using Pointer = Result (*)(Args...);
  constexpr Required(Pointer function) : function_(function) {}
  Required() = delete;
  Required(std::nullptr_t) = delete;
  Result operator()(Args... args) const { return function_(args...); }

 private:
  Pointer function_;
};

}  // namespace retort
