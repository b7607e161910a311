#include "engine/core/tensor.h"

#include <algorithm>
#include <utility>

#include "engine/core/arena.h"
#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/tape.h"
#include "kernels/bfloat16.h"
#include "kernels/memory.h"

namespace retort {
namespace {

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, std::int8_t>) return DType::i8;
}

/// Element i as a number that prints; the tensor is on the CPU.
double element(const Tensor& tensor, std::int64_t i) {
  switch (tensor.dtype()) {
    case DType::f32: return tensor.data<float>()[i];
    case DType::f64: return tensor.data<double>()[i];
    case DType::i64: return static_cast<double>(tensor.data<std::int64_t>()[i]);
    case DType::i32: return tensor.data<std::int32_t>()[i];
    case DType::bf16: return static_cast<const BFloat16*>(tensor.raw())[i];
    case DType::u8: return tensor.data<std::uint8_t>()[i];
    case DType::i8: return tensor.data<std::int8_t>()[i];
  }
  return 0;
}

void upload(const Tensor& target, const void* source) {
  memory_of(target.device()).upload({}, target.raw(), source, target.bytes());
}

}  // namespace

const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::bf16: return "bf16";
    case DType::u8: return "u8";
    case DType::i8: return "i8";
  }
  return "?";
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.device_ = device;
  const auto block = std::make_shared<MemoryBlock>(device, tensor.bytes());
  tensor.storage_ = std::shared_ptr<void>(block, block->data());
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  if (is_floating(dtype)) {
    kernels(tensor).elementwise.fill({}, tensor.count(), value, tensor.raw());
  } else {
    check(device == Device::cpu, "[full] ", to_string(dtype), " on ", to_string(device), "; fill it on the CPU first");
    if (dtype == DType::i64)
      std::ranges::fill(tensor.span<std::int64_t>(), static_cast<std::int64_t>(value));
    else if (dtype == DType::i32)
      std::ranges::fill(tensor.span<std::int32_t>(), static_cast<std::int32_t>(value));
    else if (dtype == DType::u8)
      std::ranges::fill(tensor.span<std::uint8_t>(), static_cast<std::uint8_t>(value));
    else
      std::ranges::fill(tensor.span<std::int8_t>(), static_cast<std::int8_t>(value));
  }
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
  check(!storage_ || device_ == Device::cpu, "[tensor] the elements are on ", to_string(device_),
        "; copy them with to(Device::cpu)");
  return static_cast<T*>(storage_.get());
}

double Tensor::item() const {
  check(storage_ && count() == 1, "[item] the tensor has the shape ", shape_, "; item() reads a single element");
  if (device_ != Device::cpu) return to(Device::cpu).item();
  return dtype_ == DType::f64 ? *data<double>() : *data<float>();
}

Tensor Tensor::reshaped(const Shape& shape) const {
  check(shape.count() == count(), "[reshape] ", shape_, " has ", count(), " elements, ", shape, " ", shape.count(),
        "; keep their number");
  Tensor result = detached();
  result.shape_ = shape;
  return result;
}

Tensor Tensor::rows(std::int64_t first, std::int64_t count) const {
  check(storage_ && shape_.rank() >= 1 && first >= 0 && count >= 0 && first + count <= shape_[0], "[rows] ", count,
        " rows from ", first, " on of ", shape_, "; give rows that are there");
  Tensor result = detached();
  switch (shape_.rank()) {
    case 1: result.shape_ = {count}; break;
    case 2: result.shape_ = {count, shape_[1]}; break;
    case 3: result.shape_ = {count, shape_[1], shape_[2]}; break;
    default: result.shape_ = {count, shape_[1], shape_[2], shape_[3]};
  }
  const std::size_t row_bytes = shape_[0] > 0 ? bytes() / static_cast<std::size_t>(shape_[0]) : 0;
  auto* const begin = static_cast<std::byte*>(raw()) + static_cast<std::size_t>(first) * row_bytes;
  result.storage_ = std::shared_ptr<void>(storage_, begin);
  return result;
}

Tensor Tensor::detached() const {
  Tensor result = *this;
  result.slot_.reset();
  result.recomputation_.reset();
  return result;
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  Tensor result = empty(shape_, dtype_, device_);
  memory_of(device_).copy({}, result.raw(), raw(), bytes());
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return clone();
  check(is_floating(dtype_) && is_floating(dtype), "[to] ", to_string(dtype_), " to ", to_string(dtype),
        "; only f32, f64 and bf16 convert");
  Tensor result = empty(shape_, dtype, device_);
  // Any floating table of the device converts between all dtypes.
  kernels(DType::f32, device_).elementwise.convert({}, count(), dtype_, raw(), dtype, result.raw());
  return result;
}

Tensor Tensor::to(Device device) const {
  if (device == device_ || !storage_) return detached();
  Tensor result = empty(shape_, dtype_, device);
  result.copy_from(*this);
  return result;
}

void Tensor::copy_from(const Tensor& source) {
  check(source.shape_ == shape_ && source.dtype_ == dtype_, "[copy_from] ", to_string(source.dtype_), " ",
        source.shape_, " into ", to_string(dtype_), " ", shape_, "; give the same shape and dtype");
  if (bytes() == 0) return;
  if (source.device_ == device_)
    memory_of(device_).copy({}, raw(), source.raw(), bytes());
  else if (source.device_ == Device::cpu)
    upload(*this, source.raw());
  else if (device_ == Device::cpu)
    memory_of(source.device_).download({}, raw(), source.raw(), bytes());
  else
    copy_from(source.to(Device::cpu));
}

Tensor& Tensor::require_grad() {
  if (!slot_) slot_ = std::make_shared<GradSlot>();
  if (Tape* tape = Tape::active(); tape && tape->traces_) {
    tape->next_.output = slot_;
    tape->next_.shape = shape_;
  }
  return *this;
}

Tensor Tensor::grad() const { return slot_ ? slot_->grad : Tensor(); }

void Tensor::clear_grad() {
  if (slot_) slot_->grad = {};
}

std::string to_string(const Tensor& tensor) {
  if (!tensor) return "none";
  std::string result = text(to_string(tensor.dtype()), " ", tensor.shape(), " on ", to_string(tensor.device()));
  if (tensor.device() != Device::cpu) return result;
  constexpr std::int64_t kShown = 6;
  const std::int64_t shown = std::min(tensor.count(), kShown);
  for (std::int64_t i = 0; i < shown; ++i) result += text(i == 0 ? ": " : " ", element(tensor, i));
  return result + (tensor.count() > shown ? " ..." : "");
}

std::ostream& operator<<(std::ostream& stream, const Tensor& tensor) { return stream << to_string(tensor); }

Tensor take_grad(GradSlot& slot) { return std::exchange(slot.grad, {}); }

void accumulate(GradSlot& slot, Tensor grad) {
  if (!slot.grad) {
    slot.grad = std::move(grad);
    return;
  }
  // A gradient may be shared with another slot (add hands the same one to both of its inputs), or lie in a view.
  Tensor sum = slot.grad.unique() ? slot.grad : grad.unique() ? grad : Tensor::empty_like(grad, grad.shape());
  kernels(grad).elementwise.add({}, grad.count(), slot.grad.raw(), grad.raw(), sum.raw());
  slot.grad = std::move(sum);
}

template Tensor Tensor::from<float>(const Shape&, std::span<const float>);
template Tensor Tensor::from<double>(const Shape&, std::span<const double>);
template Tensor Tensor::from<std::int64_t>(const Shape&, std::span<const std::int64_t>);
template Tensor Tensor::from<std::int32_t>(const Shape&, std::span<const std::int32_t>);
template Tensor Tensor::from<std::uint8_t>(const Shape&, std::span<const std::uint8_t>);
template Tensor Tensor::from<std::int8_t>(const Shape&, std::span<const std::int8_t>);
template float* Tensor::data<float>() const;
template double* Tensor::data<double>() const;
template std::int64_t* Tensor::data<std::int64_t>() const;
template std::int32_t* Tensor::data<std::int32_t>() const;
template std::uint8_t* Tensor::data<std::uint8_t>() const;
template std::int8_t* Tensor::data<std::int8_t>() const;

}  // namespace retort
