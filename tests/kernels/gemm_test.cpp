#include "kernels/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/table.h"
#include "tests/element_types.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using Buffer = std::vector<float>;

/// As T holds them.
template <class T>
Buffer held(Buffer values) {
  for (float& value : values) value = float(T(value));
  return values;
}

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

/// T: of A and B; Out: of C; P: of the bias. C starts as NaN, so that an element left unwritten is seen.
template <class T, class Out, class P>
std::vector<double> run(const GemmKernels& gemm, const Operands& o) {
  const auto elements = [](const Buffer& values) {
    std::vector<T> result;
    for (const float value : values) result.push_back(T(value));
    return result;
  };
  const std::vector<T> a = elements(o.a), b = elements(o.b);
  const std::vector<P> bias(o.bias.begin(), o.bias.end());
  std::vector<char> workspace = test::unwritten_workspace(gemm.workspace_bytes(o.geometry));
  std::vector<Out> c = test::unwritten<Out>(static_cast<std::size_t>(o.geometry.m * o.geometry.n));
  gemm.run({}, o.geometry, a.data(), b.data(), bias.empty() ? nullptr : bias.data(), o.relu, c.data(),
           workspace.data());
  return test::wide(c);
}

template <class T>
std::vector<double> run_cpu(const Operands& o) {
  const GemmKernels& gemm = kernels_for(Device::cpu, test::dtype_of<T>).gemm;
  return o.geometry.parameter_c ? run<T, float, float>(gemm, o) : run<T, T, float>(gemm, o);
}

std::vector<double> run_reference(const Operands& o) {
  return run<double, double, double>(kernels_for(Device::reference, DType::f64).gemm, o);
}

/// What a result of T's is rounded to; a parameter's gradient is f32.
template <class T>
std::vector<double> rounded(const GemmGeometry& g, std::vector<double> values) {
  return g.parameter_c ? values : test::rounded<T>(std::move(values));
}

template <class T>
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
  CHECK(test::count_different(run_cpu<T>(operands), rounded<T>(g, run_reference(operands))) == 0);
}

}  // namespace

TEST_CASE("cpu gemm: small integers are exact for every edge shape, transposition and epilogue") {
  // 1, primes, around one and two vectors (8, 16, 32), around the tile (6, 14), around 28 rows where B is read in
  // place.
  constexpr std::int64_t kSizes[][3] = {{1, 1, 1},    {1, 17, 5},   {2, 1, 31},    {5, 7, 1},     {7, 31, 33},
                                        {8, 33, 64},  {13, 15, 40}, {14, 16, 32},  {15, 47, 257}, {28, 65, 70},
                                        {29, 48, 19}, {97, 3, 11},  {43, 127, 31}, {101, 64, 300}};
  test::for_each_element_type([&](auto zero) {
    using T = decltype(zero);
    test::for_each_cpu_setting([&] {
      std::mt19937 random(1);
      for (const auto& [m, n, k] : kSizes)
        for (int variant = 0; variant < 16; ++variant) {
          GemmGeometry g = {m, n, k, (variant & 1) != 0, (variant & 2) != 0};
          check_exact<T>(g, (variant & 4) != 0, (variant & 8) != 0, random);
          g.parameter_c = true;
          if (g.transpose_a && !g.transpose_b) check_exact<T>(g, false, false, random);
        }
    });
  });
}

TEST_CASE("cpu gemm: shapes of several blocks in each direction are exact") {
  // More rows than a block (504), more depth than two (256, in bf16 512), columns split among threads, few rows with
  // more columns than are packed at a time, and long shallow products.
  constexpr std::int64_t kSizes[][3] = {{611, 35, 1030}, {9, 700, 521}, {5, 2500, 70}, {1013, 40, 8}, {70, 523, 263}};
  test::for_each_element_type([&](auto zero) {
    using T = decltype(zero);
    std::mt19937 random(2);
    for (const auto& [m, n, k] : kSizes)
      for (int variant = 0; variant < 8; ++variant) {
        const GemmGeometry g = {m, n, k, (variant & 1) != 0, (variant & 2) != 0, (variant & 4) != 0};
        const Operands operands = {g, small_integers(m * k, random), small_integers(k * n, random),
                                   small_integers(n, random), true};
        const std::vector<double> expected = rounded<T>(g, run_reference(operands));
        test::for_each_cpu_setting([&] {
          if (simd_level() == SimdLevel::plain && num_threads() != 2) return;  // slow
          CHECK(test::count_different(run_cpu<T>(operands), expected) == 0);
        });
      }
  });
}

TEST_CASE("cpu gemm: real values are within the bound of a dot product, and the same bits whatever the threads") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    std::mt19937 random(3);
    for (int variant = 0; variant < 4; ++variant) {
      const GemmGeometry g = {67, 45, 1391, (variant & 1) != 0, (variant & 2) != 0};
      const Operands operands = {g, held<T>(reals(g.m * g.k, random)), held<T>(reals(g.k * g.n, random)),
                                 reals(g.n, random), false};
      const std::vector<double> expected = run_reference(operands);
      const std::vector<double> magnitude =
          run_reference({g, absolute(operands.a), absolute(operands.b), absolute(operands.bias)});
      std::vector<double> first;
      test::for_each_cpu_setting([&] {
        const std::vector<double> found = run_cpu<T>(operands);
        CHECK(test::worst(found, expected, [&](std::size_t i) {
                return test::dot_tolerance(g.k, magnitude[i]) + test::epsilon_of<T> / 2 * std::fabs(expected[i]) * 1.01;
              }) <= 1);
        if (num_threads() == 1) first = found;
        CHECK(test::count_different(found, first) == 0);
      });
    }
  });
}

TEST_CASE("cpu gemm: relu keeps NaN, so that a diverged training is seen") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const GemmGeometry g = {2, 3, 2};
    Operands operands = {g, {1, 2, 3, 4}, {1, 1, 1, 1, 1, 1}, {}, true};
    operands.a[0] = std::numeric_limits<float>::quiet_NaN();
    test::for_each_cpu_setting([&] {
      const std::vector<double> c = run_cpu<T>(operands);
      CHECK(std::isnan(c[0]));
      CHECK(c[3] == 7);
    });
  });
}

}  // namespace retort
