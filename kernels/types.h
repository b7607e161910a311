// What every kernel header shares: element types, the stream, and the non-null entry of a kernel table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace retort {

/// Element type of a buffer. Kernels compute in f32, or in f64 on the reference backend; i64 holds labels, i32 the
/// indices of max pooling.
enum class DType : std::uint8_t { f32, f64, i64, i32 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : 8; }

/// Where a kernel runs. `reference` is the slow oracle on the CPU.
enum class Device : std::uint8_t { cpu, reference };

/// The queue on which a kernel is launched. CPU backends run at once and ignore it.
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
