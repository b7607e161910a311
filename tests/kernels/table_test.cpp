#include "kernels/table.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

namespace retort {

TEST_CASE("table: cpu f32 and bf16 are the fast ones, everything else the oracle") {
  CHECK(std::string(kernels_for(Device::cpu, DType::f32).name) == "cpu");
  CHECK(std::string(kernels_for(Device::cpu, DType::bf16).name) == "cpu_bf16");
  CHECK(std::string(kernels_for(Device::cpu, DType::f64).name) == "reference");
  CHECK(&kernels_for(Device::cpu, DType::f64) == &kernels_for(Device::reference, DType::f64));
  CHECK(&kernels_for(Device::reference, DType::f32) != &kernels_for(Device::reference, DType::f64));
}

TEST_CASE("table: i64 is refused with what to do") {
  CHECK_THROWS_WITH_AS(kernels_for(Device::cpu, DType::i64),
                       "kernels_for: cpu computes in f32, f64 or bf16; integers hold labels", std::invalid_argument);
}

TEST_CASE("table: the reference has no bf16") {
  CHECK_THROWS_WITH_AS(kernels_for(Device::reference, DType::bf16),
                       "kernels_for: reference has no bf16 kernels; compute in f32", std::invalid_argument);
}

TEST_CASE("table: a variant is a copy with one entry replaced") {
  KernelTable variant = kernels_for(Device::cpu, DType::f32);
  variant.elementwise.fill = +[](Stream, std::int64_t n, double, void* y) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<float*>(y)[i] = 7;
  };
  float y[2] = {};
  variant.elementwise.fill({}, 2, 1.0, y);
  CHECK(y[1] == 7);
}

}  // namespace retort
