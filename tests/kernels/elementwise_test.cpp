#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::uniform;

const KernelTable& cpu() { return kernels_for(Device::cpu, DType::f32); }
const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

// One element, primes, around 4, 8, 16 lanes, and enough for several tasks.
constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 127, 70001};

}  // namespace

TEST_CASE("cpu elementwise: add, scale and relu equal the oracle to a rounding") {
  test::for_each_cpu_setting([] {
    for (const std::int64_t n : kSizes) {
      CAPTURE(n);
      const std::vector<float> a = uniform(n, 1), b = uniform(n, 2);
      const std::vector<double> a64 = test::widen(a), b64 = test::widen(b);
      std::vector<float> y = blank<float>(n);
      std::vector<double> y64 = blank<double>(n);
      const auto rounded = [&](std::size_t i) { return test::rounding_tolerance(y64[i]); };

      cpu().elementwise.add({}, n, a.data(), b.data(), y.data());
      oracle().elementwise.add({}, n, a64.data(), b64.data(), y64.data());
      CHECK(test::worst(y, y64, rounded) <= 1);

      cpu().elementwise.scale({}, n, 0.7, a.data(), y.data());
      oracle().elementwise.scale({}, n, 0.7, a64.data(), y64.data());
      // The factor is rounded too.
      CHECK(test::worst(y, y64, [&](std::size_t i) { return 2 * rounded(i); }) <= 1);

      cpu().elementwise.relu_forward({}, n, a.data(), y.data());
      oracle().elementwise.relu_forward({}, n, a64.data(), y64.data());
      CHECK(test::count_different(y, y64) == 0);

      cpu().elementwise.relu_backward({}, n, a.data(), b.data(), y.data());
      oracle().elementwise.relu_backward({}, n, a64.data(), b64.data(), y64.data());
      CHECK(test::count_different(y, y64) == 0);

      cpu().elementwise.fill({}, n, 0.1, y.data());
      CHECK(test::count_different(y, std::vector<float>(y.size(), 0.1f)) == 0);
    }
  });
}

TEST_CASE("cpu elementwise: in place gives what out of place gives") {
  const std::int64_t n = 1003;
  const std::vector<float> a = uniform(n, 3), b = uniform(n, 4);
  test::for_each_cpu_setting([&] {
    std::vector<float> expected = blank<float>(n), in_place = a;
    cpu().elementwise.add({}, n, a.data(), b.data(), expected.data());
    cpu().elementwise.add({}, n, in_place.data(), b.data(), in_place.data());
    CHECK(in_place == expected);
    cpu().elementwise.relu_forward({}, n, a.data(), expected.data());
    in_place = a;
    cpu().elementwise.relu_forward({}, n, in_place.data(), in_place.data());
    CHECK(in_place == expected);
    cpu().elementwise.relu_backward({}, n, a.data(), b.data(), expected.data());
    in_place = b;
    cpu().elementwise.relu_backward({}, n, a.data(), in_place.data(), in_place.data());
    CHECK(in_place == expected);
  });
}

TEST_CASE("elementwise: relu keeps NaN forward and stops it backward") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : {Device::cpu, Device::reference})
    test::for_each_cpu_setting([&] {
      const KernelTable& kernels = kernels_for(device, DType::f32);
      std::vector<float> x(19, nan), ones(19, 1.0f), y(19, 0.0f);
      x[0] = -1;
      x[18] = 2;
      kernels.elementwise.relu_forward({}, 19, x.data(), y.data());
      CHECK(y[0] == 0);
      CHECK(std::isnan(y[1]));
      CHECK(std::isnan(y[17]));
      CHECK(y[18] == 2);
      std::vector<float> dx = blank<float>(19);
      kernels.elementwise.relu_backward({}, 19, y.data(), ones.data(), dx.data());
      CHECK(dx[0] == 0);
      CHECK(dx[17] == 0);  // NaN is not above 0
      CHECK(dx[18] == 1);
    });
}

TEST_CASE("cpu elementwise: sum_rows is within the bound of blocks of 64, and the same bits whatever the threads") {
  constexpr std::int64_t kShapes[][2] = {{1, 1},   {1, 17},  {63, 3},   {64, 16},   {65, 64},
                                         {257, 5}, {512, 1}, {3, 1030}, {2000, 37}, {700, 65}};
  for (const auto& [rows, channels] : kShapes) {
    const std::vector<float> x = uniform(rows * channels, 5, -1, 3);
    const std::vector<double> x64 = test::widen(x), magnitude64 = test::absolute(x64);
    std::vector<double> expected = blank<double>(channels), magnitude = blank<double>(channels);
    oracle().elementwise.sum_rows({}, rows, channels, x64.data(), expected.data(), nullptr);
    oracle().elementwise.sum_rows({}, rows, channels, magnitude64.data(), magnitude.data(), nullptr);
    std::vector<float> first;
    test::for_each_cpu_setting([&, rows = rows, channels = channels] {
      CAPTURE(rows);
      CAPTURE(channels);
      std::vector<float> y = blank<float>(channels);
      cpu().elementwise.sum_rows({}, rows, channels, x.data(), y.data(), nullptr);
      CHECK(test::worst(y, expected,
                        [&](std::size_t i) { return test::dot_tolerance(test::float_rows, magnitude[i]); }) <= 1);
      if (num_threads() == 1) first = y;
      CHECK(y == first);
    });
  }
}

TEST_CASE("cpu elementwise: copy_channels writes its slice and nothing else") {
  constexpr ChannelCopy kCopies[] = {
      {.rows = 1, .count = 1},
      {.rows = 5, .count = 3, .source_channels = 7, .source_begin = 4, .target_channels = 5, .target_begin = 1},
      {.rows = 3001, .count = 17, .source_channels = 17, .source_begin = 0, .target_channels = 40, .target_begin = 23}};
  for (const ChannelCopy& copy : kCopies) {
    const std::vector<float> source = uniform(copy.rows * copy.source_channels, 6);
    const std::vector<float> before = uniform(copy.rows * copy.target_channels, 7);
    std::vector<float> expected = before;
    for (std::int64_t row = 0; row < copy.rows; ++row)
      for (std::int64_t c = 0; c < copy.count; ++c)
        expected[static_cast<std::size_t>(row * copy.target_channels + copy.target_begin + c)] =
            source[static_cast<std::size_t>(row * copy.source_channels + copy.source_begin + c)];
    test::for_each_cpu_setting([&] {
      for (const Device device : {Device::cpu, Device::reference}) {
        std::vector<float> target = before;
        kernels_for(device, DType::f32).elementwise.copy_channels({}, copy, source.data(), target.data());
        CHECK(target == expected);
      }
    });
  }
}

TEST_CASE("elementwise: the option A shortcut on a 3 x 3 image by hand, odd padding last") {
  const ShortcutGeometry g = {.n = 1, .h = 3, .w = 3, .c = 1, .k = 4};  // (4 - 1) / 2 = 1 before, 2 after
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<float> y = {0, 1, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0};
  const std::vector<float> dx = {1, 0, 3, 0, 0, 0, 7, 0, 9};
  for (const Device device : {Device::cpu, Device::reference}) {
    const KernelTable& kernels = kernels_for(device, DType::f32);
    std::vector<float> found = blank<float>(16), gradient = blank<float>(9);
    kernels.elementwise.shortcut_forward({}, g, x.data(), found.data());
    CHECK(found == y);
    kernels.elementwise.shortcut_backward({}, g, y.data(), gradient.data());
    CHECK(gradient == dx);
  }
}

TEST_CASE("cpu elementwise: the shortcut equals the oracle") {
  constexpr ShortcutGeometry kShapes[] = {
      {1, 1, 1, 1, 1, 2}, {2, 8, 8, 16, 32, 2}, {3, 7, 5, 3, 8, 2}, {2, 5, 9, 4, 4, 1}, {2, 32, 32, 16, 64, 2}};
  test::for_each_cpu_setting([&] {
    for (const ShortcutGeometry& g : kShapes) {
      const std::vector<float> x = uniform(g.n * g.h * g.w * g.c, 8), dy = uniform(g.n * g.p() * g.q() * g.k, 9);
      const std::vector<double> x64 = test::widen(x), dy64 = test::widen(dy);
      std::vector<float> y = blank<float>(std::ssize(dy)), dx = blank<float>(std::ssize(x));
      std::vector<double> y64 = blank<double>(std::ssize(dy)), dx64 = blank<double>(std::ssize(x));
      cpu().elementwise.shortcut_forward({}, g, x.data(), y.data());
      oracle().elementwise.shortcut_forward({}, g, x64.data(), y64.data());
      CHECK(test::count_different(y, y64) == 0);
      cpu().elementwise.shortcut_backward({}, g, dy.data(), dx.data());
      oracle().elementwise.shortcut_backward({}, g, dy64.data(), dx64.data());
      CHECK(test::count_different(dx, dx64) == 0);
    }
  });
}

}  // namespace retort
