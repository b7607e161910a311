#include "kernels/cpu/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/reference/gemm.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using Buffer = std::vector<float>;

Buffer small_integers(std::int64_t size, std::mt19937& random) {
  Buffer values(static_cast<std::size_t>(size));
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 7) - 3);
  return values;
}

Buffer reals(std::int64_t size, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Buffer values(static_cast<std::size_t>(size));
  for (float& value : values) value = normal(random);
  return values;
}

Buffer absolute(Buffer values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

struct Operands {
  GemmGeometry geometry;
  Buffer a, b, bias;  // bias may be empty
  bool relu = false;
};

const void* data_or_null(const Buffer& values) { return values.empty() ? nullptr : values.data(); }

/// C starts as NaN, so that an element left unwritten is seen.
Buffer blank(const GemmGeometry& g) {
  return Buffer(static_cast<std::size_t>(g.m * g.n), std::numeric_limits<float>::quiet_NaN());
}

Buffer run_cpu(const Operands& o) {
  std::vector<char> workspace(cpu::gemm_workspace_bytes(o.geometry));
  Buffer c = blank(o.geometry);
  cpu::gemm_run({}, o.geometry, o.a.data(), o.b.data(), data_or_null(o.bias), o.relu, c.data(), workspace.data());
  return c;
}

Buffer run_reference(const Operands& o) {
  std::vector<char> workspace(reference::gemm_workspace_bytes(o.geometry));
  Buffer c = blank(o.geometry);
  reference::gemm_run<float>({}, o.geometry, o.a.data(), o.b.data(), data_or_null(o.bias), o.relu, c.data(),
                             workspace.data());
  return c;
}

std::int64_t count_different(const Buffer& found, const Buffer& expected) {
  std::int64_t different = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) different += !(found[i] == expected[i]);
  return different;
}

void check_exact(GemmGeometry g, bool with_bias, bool relu, std::mt19937& random) {
  CAPTURE(g.m);
  CAPTURE(g.n);
  CAPTURE(g.k);
  CAPTURE(g.transpose_a);
  CAPTURE(g.transpose_b);
  CAPTURE(with_bias);
  CAPTURE(relu);
  const Operands operands = {g, small_integers(g.m * g.k, random), small_integers(g.k * g.n, random),
                             with_bias ? small_integers(g.n, random) : Buffer(), relu};
  CHECK(count_different(run_cpu(operands), run_reference(operands)) == 0);
}

}  // namespace

TEST_CASE("cpu gemm: small integers are exact for every edge shape, transposition and epilogue") {
  // 1, primes, around one and two vectors (8, 16, 32), around the tile (6, 14), around 28 rows where B is read in
  // place.
  constexpr std::int64_t kSizes[][3] = {{1, 1, 1},    {1, 17, 5},   {2, 1, 31},    {5, 7, 1},     {7, 31, 33},
                                        {8, 33, 64},  {13, 15, 40}, {14, 16, 32},  {15, 47, 257}, {28, 65, 70},
                                        {29, 48, 19}, {97, 3, 11},  {43, 127, 31}, {101, 64, 300}};
  test::for_each_cpu_setting([&] {
    std::mt19937 random(1);
    for (const auto& [m, n, k] : kSizes)
      for (int variant = 0; variant < 16; ++variant)
        check_exact({m, n, k, (variant & 1) != 0, (variant & 2) != 0}, (variant & 4) != 0, (variant & 8) != 0, random);
  });
}

TEST_CASE("cpu gemm: shapes of several blocks in each direction are exact") {
  // More rows than a block (504), more depth than two (256), columns split among threads, and long shallow products.
  constexpr std::int64_t kSizes[][3] = {{611, 35, 530}, {9, 700, 521}, {1013, 40, 8}, {70, 523, 263}};
  std::mt19937 random(2);
  for (const auto& [m, n, k] : kSizes)
    for (int variant = 0; variant < 4; ++variant) {
      const GemmGeometry g = {m, n, k, (variant & 1) != 0, (variant & 2) != 0};
      const Operands operands = {g, small_integers(m * k, random), small_integers(k * n, random),
                                 small_integers(n, random), true};
      const Buffer expected = run_reference(operands);
      test::for_each_cpu_setting([&] {
        if (simd_level() == SimdLevel::plain && num_threads() != 2) return;  // slow
        CHECK(count_different(run_cpu(operands), expected) == 0);
      });
    }
}

TEST_CASE("cpu gemm: real values are within the bound of a dot product, and the same bits whatever the threads") {
  std::mt19937 random(3);
  for (int variant = 0; variant < 4; ++variant) {
    const GemmGeometry g = {67, 45, 391, (variant & 1) != 0, (variant & 2) != 0};
    const Operands operands = {g, reals(g.m * g.k, random), reals(g.k * g.n, random), reals(g.n, random), false};
    const Buffer expected = run_reference(operands);
    const Buffer magnitude = run_reference({g, absolute(operands.a), absolute(operands.b), absolute(operands.bias)});
    Buffer first;
    test::for_each_cpu_setting([&] {
      const Buffer found = run_cpu(operands);
      std::int64_t outside = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        outside += !(std::fabs(double(found[i]) - expected[i]) <= test::dot_tolerance(g.k, magnitude[i]));
      CHECK(outside == 0);
      if (num_threads() == 1) first = found;
      CHECK(count_different(found, first) == 0);
    });
  }
}

TEST_CASE("cpu gemm: relu keeps NaN, so that a diverged training is seen") {
  const GemmGeometry g = {2, 3, 2};
  Operands operands = {g, {1, 2, 3, 4}, {1, 1, 1, 1, 1, 1}, {}, true};
  operands.a[0] = std::numeric_limits<float>::quiet_NaN();
  test::for_each_cpu_setting([&] {
    const Buffer c = run_cpu(operands);
    CHECK(std::isnan(c[0]));
    CHECK(c[3] == 7.0f);
  });
}

}  // namespace retort
