// A tensor: a shape and a dtype over shared, contiguous, row-major storage on one device, and perhaps a slot for its
// gradient.
//
// Copying a Tensor copies the handle, not the elements. Images are NHWC. Ops run where their inputs lie; only a tensor
// on the CPU shows its elements.
#pragma once

#include <memory>
#include <ostream>
#include <span>
#include <string>

#include "engine/core/shape.h"
#include "kernels/types.h"

namespace retort {

/// "f32", "f64", "i64", "i32", "bf16", "u8", "i8"
const char* to_string(DType dtype);

class Tensor;

/// Where the tape gathers the gradient of one tensor. It owns no tape node, so nothing can form a cycle.
struct GradSlot;

/// How a tensor's elements can be computed once more; see engine/core/saved.h.
struct Recomputation;

class Tensor {
 public:
  /// The empty tensor: stands for "none" where an argument is optional.
  Tensor() = default;

  /// Uninitialised elements from the device's arena. Throws Error when memory runs out.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  /// Uninitialised, of the dtype and on the device of another.
  static Tensor empty_like(const Tensor& other, const Shape& shape) {
    return empty(shape, other.dtype(), other.device());
  }
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = Device::cpu);
  /// Copies the elements; their number must be shape.count(). T is float, double, std::int64_t or
  /// std::int32_t. Throws Error otherwise.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> elements);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::int64_t count() const { return shape_.count(); }
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype_); }

  void* raw() const { return storage_.get(); }
  /// The elements as T; throws Error if the dtype is not T's, or the tensor is not on the CPU.
  template <class T>
  T* data() const;
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(count())};
  }
  /// The value of a one-element f32 or f64 tensor; waits for the device.
  double item() const;

  /// The same elements under another shape of the same count. Not differentiable: see flatten() in ops/elementwise.h.
  Tensor reshaped(const Shape& shape) const;
  /// Rows first .. first + count - 1 of the first axis: a view of the same elements. Not differentiable: see
  /// ops/rows.h. Throws Error for rows that are not there.
  Tensor rows(std::int64_t first, std::int64_t count) const;
  /// The same elements without a gradient slot.
  Tensor detached() const;
  /// A copy of the elements, without a gradient slot.
  Tensor clone() const;
  /// A converted copy (f32, f64, bf16), without a gradient slot.
  Tensor to(DType dtype) const;
  /// The elements on another device, without a gradient slot; itself (detached) if they are there already.
  Tensor to(Device device) const;
  /// Overwrites the elements with those of a tensor of this shape and dtype, on any device. Throws Error otherwise.
  void copy_from(const Tensor& source);
  /// True if no other tensor shares the elements.
  bool unique() const { return storage_.use_count() == 1; }

  /// Gives the tensor a gradient slot: from now on ops that read it under an active tape record themselves.
  Tensor& require_grad();
  bool requires_grad() const { return slot_ != nullptr; }
  const std::shared_ptr<GradSlot>& slot() const { return slot_; }
  /// The gradient gathered so far; the empty tensor if there is none.
  Tensor grad() const;
  void clear_grad();

  /// Says that the elements can be computed again; dropped by detached(). Set by an op whose result costs less to
  /// compute than to keep.
  void recompute_by(std::shared_ptr<Recomputation> recomputation) { recomputation_ = std::move(recomputation); }
  const std::shared_ptr<Recomputation>& recomputation() const { return recomputation_; }

 private:
  std::shared_ptr<void> storage_;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
  std::shared_ptr<GradSlot> slot_;
  std::shared_ptr<Recomputation> recomputation_;
};

/// "f32 [2, 3] on cpu: 0.5 1 -2 ..."; the first elements of a tensor on the CPU, else where it lies. "none" if empty.
std::string to_string(const Tensor& tensor);
std::ostream& operator<<(std::ostream& stream, const Tensor& tensor);

struct GradSlot {
  Tensor grad;  ///< empty until the first contribution
};

/// Moves the gradient out of its slot; the empty tensor if there is none.
Tensor take_grad(GradSlot& slot);

/// slot's gradient += grad. Takes over `grad` if it is the first, adds in place when the slot owns its elements alone.
void accumulate(GradSlot& slot, Tensor grad);

}  // namespace retort
