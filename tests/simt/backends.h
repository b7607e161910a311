// The device's backends under test: the CUDA kernels in the simulator, or on a GPU where RETORT_TEST_DEVICE=cuda says
// so.
#pragma once

#include <cstdlib>
#include <span>
#include <string>

#include "kernels/cuda/ladder/ladder.h"
#include "kernels/cuda/table.h"
#include "kernels/simt/simulator.h"
#include "tests/cases/backend.h"
#include "tests/thorough.h"

namespace retort::test {

/// The simulator, or the GPU.
inline Device device_under_test() {
  const char* const name = std::getenv("RETORT_TEST_DEVICE");
  return name && std::string(name) == "cuda" ? Device::cuda : Device::simt;
}

/// Whether to run what takes a GPU no time and the simulator minutes.
inline bool at_length() { return thorough() || device_under_test() == Device::cuda; }

/// A function of retort::cuda or retort::simt, as the device under test wants it.
#ifdef RETORT_CUDA
#define RETORT_DEVICE(function) \
  (::retort::test::device_under_test() == ::retort::Device::cuda ? ::retort::cuda::function : ::retort::simt::function)
#else
#define RETORT_DEVICE(function) (::retort::simt::function)
#endif

/// Runs a check under several orders of threads, with their seed; on a GPU once.
template <class Check>
void for_each_order(const Check& check, std::uint64_t seeds = thorough() ? 3 : 2) {
  if (device_under_test() == Device::cuda) return check(std::uint64_t{1});
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    simt::set_seed(seed);
    check(seed);
  }
  simt::set_seed(1);
}

/// Every order of threads gives the same bits. The first is given shapes up to `first`, the others those of little
/// work.
inline auto in_every_order(Work first) {
  return [first](const std::function<void(const Mode&)>& check) {
    for_each_order([&](std::uint64_t seed) {
      check({.name = "order " + std::to_string(seed), .work = seed == 1 ? first : Work::little});
    });
  };
}

inline std::vector<Backend> device_backends() {
  return {{.name = to_string(device_under_test()),
           .memory = device_under_test(),
           .f32 = &kernels_for(device_under_test(), DType::f32),
           .bf16 = &kernels_for(device_under_test(), DType::bf16),
           .arithmetic = kDeviceArithmetic,
           .in_every_mode = in_every_order(Work::usual),
           .few_settings = !at_length(),
           .infinite_logits_show = false}};
}

/// The kernels for compute capability 9.0 in the simulator; a GPU chooses its own.
inline Backend hopper_backend() {
  Backend hopper = device_backends()[0];
  hopper.name += " sm_90";
  hopper.f32 = nullptr;
  hopper.eights_alone = true;
  hopper.in_every_mode = [orders = hopper.in_every_mode](const std::function<void(const Mode&)>& check) {
    simt::set_compute_capability(90);
    orders(check);
    simt::set_compute_capability(80);
  };
  return hopper;
}

/// Those whose products differ.
inline std::vector<Backend> product_backends() {
  std::vector<Backend> backends = device_backends();
  if (device_under_test() == Device::simt) backends.push_back(hopper_backend());
  Backend tf32 = device_backends()[0];
  tf32.name += " tf32";
  tf32.f32 = &RETORT_DEVICE(table_tf32)();
  tf32.bf16 = nullptr;
  tf32.arithmetic.operand_rounding = kTf32Rounding;
  backends.push_back(tf32);
  return backends;
}

/// A ladder's steps. `operand_rounding` is of the products of steps in f32.
inline std::vector<Backend> ladder_backends(std::span<const LadderStep> steps, double operand_rounding = 0) {
  std::vector<Backend> backends;
  for (const LadderStep& step : steps) {
    Backend backend = device_backends()[0];
    backend.name += std::string(":") + step.name;
    backend.f32 = step.dtype == DType::f32 ? &step.table : nullptr;
    backend.bf16 = step.dtype == DType::bf16 ? &step.table : nullptr;
    backend.arithmetic = ladder_arithmetic(backend.f32 ? operand_rounding : 0);
    backend.forward_only = true;
    backend.work = Work::modest;
    backend.in_every_mode = in_every_order(Work::modest);
    backends.push_back(backend);
  }
  return backends;
}

}  // namespace retort::test
