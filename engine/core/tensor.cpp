#include "engine/core/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/core/arena.h"
#include "engine/core/check.h"

namespace retort {
namespace {

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
}

bool floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// The table in use for f32 and f64.
const KernelTable*& current_table(DType dtype) {
  static const KernelTable* tables[] = {&kernels_for(Device::cpu, DType::f32), &kernels_for(Device::cpu, DType::f64)};
  check(floating(dtype), "[kernels] ", to_string(dtype), " has no kernels; compute in f32 or f64");
  return tables[dtype == DType::f64];
}

}  // namespace

const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
  }
  return "?";
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.storage_ =
      std::shared_ptr<void>(cpu_arena().allocate(tensor.bytes()), [](void* block) { cpu_arena().release(block); });
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) { return full(shape, 0, dtype); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor tensor = empty(shape, dtype);
  if (dtype == DType::i64)
    std::ranges::fill(tensor.span<std::int64_t>(), static_cast<std::int64_t>(value));
  else if (dtype == DType::i32)
    std::ranges::fill(tensor.span<std::int32_t>(), static_cast<std::int32_t>(value));
  else
    kernels(dtype).elementwise.fill({}, tensor.count(), value, tensor.raw());
  return tensor;
}

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> elements) {
  check(shape.count() == static_cast<std::int64_t>(elements.size()), "[tensor] ", elements.size(),
        " elements for the shape ", shape, "; give ", shape.count());
  Tensor tensor = empty(shape, dtype_of<T>());
  std::ranges::copy(elements, tensor.data<T>());
  return tensor;
}

template <class T>
T* Tensor::data() const {
  check(!storage_ || dtype_ == dtype_of<T>(), "[tensor] elements of ", shape_, " are ", to_string(dtype_),
        "; do not read them as ", to_string(dtype_of<T>()));
  return static_cast<T*>(storage_.get());
}

double Tensor::item() const {
  check(storage_ && count() == 1, "[item] the tensor has the shape ", shape_, "; item() reads a single element");
  return dtype_ == DType::f64 ? *data<double>() : *data<float>();
}

Tensor Tensor::reshaped(const Shape& shape) const {
  check(shape.count() == count(), "[reshape] ", shape_, " has ", count(), " elements, ", shape, " ", shape.count(),
        "; keep their number");
  Tensor result = detached();
  result.shape_ = shape;
  return result;
}

Tensor Tensor::detached() const {
  Tensor result = *this;
  result.slot_.reset();
  return result;
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  Tensor result = empty(shape_, dtype_);
  std::memcpy(result.raw(), raw(), bytes());
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return clone();
  check(floating(dtype_) && floating(dtype), "[to] ", to_string(dtype_), " to ", to_string(dtype),
        "; only f32 and f64 convert");
  Tensor result = empty(shape_, dtype);
  if (dtype == DType::f64)
    std::ranges::copy(span<float>(), result.data<double>());
  else
    std::ranges::transform(span<double>(), result.data<float>(), [](double x) { return static_cast<float>(x); });
  return result;
}

Tensor& Tensor::require_grad() {
  if (!slot_) slot_ = std::make_shared<GradSlot>();
  return *this;
}

Tensor Tensor::grad() const { return slot_ ? slot_->grad : Tensor(); }

void Tensor::clear_grad() {
  if (slot_) slot_->grad = {};
}

Tensor take_grad(GradSlot& slot) { return std::exchange(slot.grad, {}); }

void accumulate(GradSlot& slot, Tensor grad) {
  if (!slot.grad) {
    slot.grad = std::move(grad);
    return;
  }
  // A gradient may be shared with another slot (add hands the same one to both of its inputs), or lie in a view.
  Tensor sum = slot.grad.unique() ? slot.grad : grad.unique() ? grad : Tensor::empty(grad.shape(), grad.dtype());
  kernels(grad).elementwise.add({}, grad.count(), slot.grad.raw(), grad.raw(), sum.raw());
  slot.grad = std::move(sum);
}

const KernelTable& kernels(DType dtype) { return *current_table(dtype); }

ScopedKernels::ScopedKernels(DType dtype, const KernelTable& table)
    : dtype_(dtype), previous_(std::exchange(current_table(dtype), &table)) {}

ScopedKernels::~ScopedKernels() { current_table(dtype_) = previous_; }

Workspace::Workspace(std::size_t bytes) : data_(bytes ? cpu_arena().allocate(bytes) : nullptr) {}

Workspace::~Workspace() { cpu_arena().release(data_); }

#define RETORT_INSTANTIATE(T)                                        \
  template Tensor Tensor::from<T>(const Shape&, std::span<const T>); \
  template T* Tensor::data<T>() const;
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
RETORT_INSTANTIATE(std::int64_t)
RETORT_INSTANTIATE(std::int32_t)
#undef RETORT_INSTANTIATE

}  // namespace retort
