// What the tests of device kernels share: the device under test, buffers on it, and orders of threads.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/memory.h"
#include "kernels/simt/simulator.h"
#include "kernels/table.h"
#include "tests/case.h"
#include "tests/element_types.h"
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

template <class T>
const KernelTable& device_kernels() {
  return kernels_for(device_under_test(), dtype_of<T>);
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
