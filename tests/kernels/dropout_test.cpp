#include "tests/cases/dropout.h"

#include <algorithm>
#include <array>

#include "kernels/philox.h"
#include "tests/kernels/backends.h"

namespace retort {
namespace {

const DropoutKernels& cpu() { return kernels_for(Device::cpu, DType::f32).dropout; }

constexpr std::uint64_t kSeed[2] = {0x0123456789abcdefu, 0xfedcba9876543210u};

}  // namespace

TEST_CASE("cpu dropout") { test::run_cases(test::kDropoutCases, test::cpu_backends()); }

TEST_CASE("philox: the known answers of its authors' test vectors") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, ~0ull) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("reference dropout: an element is kept when its word reaches p, and scaled") {
  const std::vector<double> x = {1, 2, 3, 4, 5};
  std::vector<double> y = test::blank<double>(5);
  for (const std::uint64_t layer : {0, 5}) {
    test::oracle().dropout.apply({}, 5, 0.25, kSeed, layer, x.data(), y.data());
    for (std::size_t i = 0; i < 5; ++i) {
      const std::uint32_t stream = 0x76543210u | static_cast<std::uint32_t>(layer);
      const auto words = philox4x32({static_cast<std::uint32_t>(i / 4), 0, stream, 0xfedcba98u}, kSeed[0]);
      CHECK(y[i] == (words[i % 4] >= 0x40000000u ? x[i] / 0.75 : 0));
    }
  }
}

TEST_CASE("cpu dropout: keeps 1 - p of many, and another seed or stream keeps others") {
  const std::int64_t n = 100000;
  const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
  std::vector<float> y = test::blank<float>(n), other = test::blank<float>(n);
  cpu().apply({}, n, 0.3, kSeed, 0, ones.data(), y.data());
  const double kept = static_cast<double>(std::count_if(y.begin(), y.end(), [](float v) { return v > 0; }));
  CHECK(std::fabs(kept / n - 0.7) <= 5 * std::sqrt(0.3 * 0.7 / n));  // five standard deviations
  for (const std::size_t changed : {0u, 1u}) {
    std::uint64_t seed[2] = {kSeed[0], kSeed[1]};
    seed[changed] += 1;
    cpu().apply({}, n, 0.3, seed, 0, ones.data(), other.data());
    CHECK(test::count_different(other, y) > n / 4);  // 2 * 0.3 * 0.7 of independent masks differ
  }
}

}  // namespace retort
