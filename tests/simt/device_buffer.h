// What the tests of device kernels share: buffers on the device under test, element types, and comparisons with the
// double reference.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/memory.h"
#include "kernels/simt/simulator.h"
#include "kernels/table.h"
#include "tests/case.h"
#include "tests/tolerance.h"

namespace retort::test {

/// The simulator, or the GPU where RETORT_TEST_DEVICE=cuda says so.
inline Device device_under_test() {
  const char* const name = std::getenv("RETORT_TEST_DEVICE");
  return name && std::string(name) == "cuda" ? Device::cuda : Device::simt;
}

/// A buffer on the device under test.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t count)
      : memory_(&memory_of(device_under_test())), count_(count), data_(memory_->allocate(count * sizeof(T))) {}
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    memory_->upload({}, data_, values.data(), values.size() * sizeof(T));
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { memory_->release(data_); }
  T* get() const { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    memory_->download({}, values.data(), data_, count_ * sizeof(T));
    return values;
  }

 private:
  const DeviceMemory* memory_;
  std::size_t count_;
  void* data_;
};

/// Runs a check with f32 and with bf16 elements.
template <class Check>
void for_each_element_type(const Check& check) {
  {
    CAPTURE(std::string("f32"));
    check(float{});
  }
  CAPTURE(std::string("bf16"));
  check(BFloat16(0.0f));
}

template <class T>
inline constexpr DType dtype_of = std::is_same_v<T, float> ? DType::f32 : DType::bf16;
/// Distance of 1 and the next number.
template <class T>
inline constexpr double epsilon_of = std::is_same_v<T, float> ? epsilon32 : 1.0 / 128;

template <class T>
const KernelTable& device_kernels() {
  return kernels_for(device_under_test(), dtype_of<T>);
}

template <class T>
std::vector<T> narrow(const std::vector<float>& values) {
  std::vector<T> result;
  for (const float value : values) result.push_back(T(value));
  return result;
}
template <class T>
std::vector<double> wide(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T& value : values) result.push_back(double{float(value)});
  return result;
}

/// The largest |found - expected| / (half a unit of T in the result + noise(i)); fine if <= 1.
template <class T, class Noise>
double error_of(const std::vector<T>& found, const std::vector<double>& expected, const Noise& noise) {
  return worst(wide(found), expected, [&](std::size_t i) {
    return epsilon_of<T> / 2 * std::fabs(expected[i]) * 1.01 + noise(i) + std::numeric_limits<float>::min();
  });
}

/// Runs a check under several orders of threads; on a GPU once.
template <class Check>
void for_each_order(const Check& check, std::uint64_t seeds = 3) {
  if (device_under_test() == Device::cuda) return check();
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    simt::set_seed(seed);
    check();
  }
  simt::set_seed(1);
}

}  // namespace retort::test
