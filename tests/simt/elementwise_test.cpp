// Maps, copies, sums, dropout and pooling of the CUDA kernels against the double reference.
#include "kernels/elementwise.h"

#include <doctest/doctest.h>

#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::device_kernels;
using test::DeviceBuffer;
using test::for_each_element_type;

const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

/// Elements of a misaligned view begin here.
constexpr std::size_t kOffsets[] = {0, 1};

template <class T>
std::vector<T> random(std::int64_t n, std::uint64_t seed) {
  return test::narrow<T>(test::uniform(n, seed, -2, 2));
}

}  // namespace

TEST_CASE("device maps: every length, aligned or not") {
  for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const ElementwiseKernels &device = device_kernels<T>().elementwise, &reference = oracle().elementwise;
    for (const std::int64_t n : {1, 7, 8, 17, 4099})
      for (const std::size_t offset : kOffsets) {
        CAPTURE(n);
        CAPTURE(offset);
        const std::vector<T> a = random<T>(n, 1), b = random<T>(n, 2);
        const auto a64 = test::wide(a), b64 = test::wide(b);
        std::vector<T> padded_a(a), padded_b(b);
        padded_a.insert(padded_a.begin(), offset, T(0.0f));
        padded_b.insert(padded_b.begin(), offset, T(0.0f));
        const DeviceBuffer<T> left(padded_a), right(padded_b), out(padded_a.size());
        const DeviceBuffer<float> factor(std::vector<float>{-1.5f});
        std::vector<double> expected(a.size());
        const auto found = [&] {
          std::vector<T> all = out.values();
          return std::vector<T>(all.begin() + static_cast<std::ptrdiff_t>(offset), all.end());
        };
        const auto holds = [&] { return test::error_of(found(), expected, [](std::size_t) { return 0.0; }) <= 1; };
        device.add({}, n, left.get() + offset, right.get() + offset, out.get() + offset);
        reference.add({}, n, a64.data(), b64.data(), expected.data());
        CHECK(holds());
        device.scale({}, n, 0.3, left.get() + offset, out.get() + offset);
        reference.scale({}, n, static_cast<double>(0.3f), a64.data(), expected.data());
        CHECK(holds());
        device.scale_by({}, n, factor.get(), left.get() + offset, out.get() + offset);
        reference.scale({}, n, -1.5, a64.data(), expected.data());
        CHECK(holds());
        device.relu_forward({}, n, left.get() + offset, out.get() + offset);
        reference.relu_forward({}, n, a64.data(), expected.data());
        CHECK(holds());
        device.relu_backward({}, n, left.get() + offset, right.get() + offset, out.get() + offset);
        reference.relu_backward({}, n, a64.data(), b64.data(), expected.data());
        CHECK(holds());
        device.fill({}, n, 0.75, out.get() + offset);
        reference.fill({}, n, 0.75, expected.data());
        CHECK(holds());
      }
  });
}

TEST_CASE("device relu: NaN stays NaN") {
  const DeviceBuffer<float> x(std::vector<float>{std::nanf(""), -1, 2}), y(3);
  device_kernels<float>().elementwise.relu_forward({}, 3, x.get(), y.get());
  const std::vector<float> found = y.values();
  CHECK(std::isnan(found[0]));
  CHECK(found[1] == 0);
  CHECK(found[2] == 2);
}

TEST_CASE("device convert: f32 to bf16 rounds to nearest even, and back is exact") {
  const std::vector<float> x = {0.0f, 1.0f, 1.00390625f, 1.01171875f, -3.1415926f, 1e30f, 1e-30f};
  const std::int64_t n = static_cast<std::int64_t>(x.size());
  const DeviceBuffer<float> in(x), back(x.size());
  const DeviceBuffer<BFloat16> narrow(x.size());
  const ElementwiseKernels& device = device_kernels<float>().elementwise;
  device.convert({}, n, DType::f32, in.get(), DType::bf16, narrow.get());
  device.convert({}, n, DType::bf16, narrow.get(), DType::f32, back.get());
  // Halfway between two numbers of 8 bits the even one wins: 1 + 1/256 down, 1 + 3/256 up.
  CHECK(back.values()[2] == 1.0f);
  CHECK(back.values()[3] == 1.015625f);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(back.values()[i] == float{BFloat16(x[i])});
}

TEST_CASE("device copy_channels and shortcuts move the right elements") {
  for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const ElementwiseKernels &device = device_kernels<T>().elementwise, &reference = oracle().elementwise;
    for (const ChannelCopy& copy : {ChannelCopy{5, 3, 7, 2, 9, 4}, ChannelCopy{6, 16, 32, 8, 24, 8}}) {
      const auto source = random<T>(copy.rows * copy.source_channels, 1),
                 target = random<T>(copy.rows * copy.target_channels, 2);
      std::vector<double> expected = test::wide(target);
      reference.copy_channels({}, copy, test::wide(source).data(), expected.data());
      const DeviceBuffer<T> from(source), to(target);
      device.copy_channels({}, copy, from.get(), to.get());
      CHECK(test::count_different(test::wide(to.values()), expected) == 0);
    }
    for (const ShortcutGeometry& g : {ShortcutGeometry{2, 5, 4, 3, 6, 2}, ShortcutGeometry{1, 4, 4, 2, 7, 1}}) {
      const auto x = random<T>(g.n * g.h * g.w * g.c, 1), dy = random<T>(g.n * g.p() * g.q() * g.k, 2);
      std::vector<double> y64(dy.size()), dx64(x.size());
      reference.shortcut_forward({}, g, test::wide(x).data(), y64.data());
      reference.shortcut_backward({}, g, test::wide(dy).data(), dx64.data());
      const DeviceBuffer<T> in(x), gradient(dy), y(dy.size()), dx(x.size());
      device.shortcut_forward({}, g, in.get(), y.get());
      device.shortcut_backward({}, g, gradient.get(), dx.get());
      CHECK(test::count_different(test::wide(y.values()), y64) == 0);
      CHECK(test::count_different(test::wide(dx.values()), dx64) == 0);
    }
  });
}

TEST_CASE("device sum_rows: any number of rows, the same bits in every order") {
  for_each_element_type([](auto zero) {
    using T = decltype(zero);
    for (const auto& shape : {std::pair<std::int64_t, std::int64_t>{1, 1}, {63, 33}, {64, 3}, {65, 64}, {5000, 5}}) {
      const std::int64_t rows = shape.first, channels = shape.second;
      CAPTURE(rows);
      CAPTURE(channels);
      const std::vector<T> x = random<T>(rows * channels, 3);
      const auto x64 = test::wide(x);
      std::vector<double> expected(static_cast<std::size_t>(channels)), magnitude(expected);
      oracle().elementwise.sum_rows({}, rows, channels, x64.data(), expected.data(), nullptr);
      oracle().elementwise.sum_rows({}, rows, channels, test::absolute(x64).data(), magnitude.data(), nullptr);
      const ElementwiseKernels& device = device_kernels<T>().elementwise;
      const DeviceBuffer<T> in(x);
      const DeviceBuffer<float> y(expected.size());
      const DeviceBuffer<char> workspace(device.sum_rows_workspace_bytes(rows, channels));
      std::vector<float> first;
      test::for_each_order([&] {
        device.sum_rows({}, rows, channels, in.get(), y.get(), workspace.get());
        const std::vector<float> found = y.values();
        // A thread adds each 32nd row of a chunk of at least 64 in float, 32 such sums follow, then double.
        CHECK(test::error_of(found, expected,
                             [&](std::size_t i) { return test::dot_tolerance(2 + 32, magnitude[i]); }) <= 1);
        if (first.empty()) first = found;
        CHECK(found == first);
      });
    }
  });
}

TEST_CASE("device dropout: keeps what the oracle keeps, on seeds read from the device") {
  for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const DeviceBuffer<std::uint64_t> seed(std::vector<std::uint64_t>{0x0123456789abcdefu, 0xfedcba9876540000u});
    const std::vector<std::uint64_t> host = seed.values();
    for (const std::int64_t n : {1, 3, 4, 1023})
      for (const double p : {0.0, 0.3, 1.0}) {
        const std::vector<T> x = random<T>(n, 4);
        std::vector<double> expected(x.size());
        oracle().dropout.apply({}, n, p, host.data(), 5, test::wide(x).data(), expected.data());
        const DeviceBuffer<T> in(x), out(x.size());
        device_kernels<T>().dropout.apply({}, n, p, seed.get(), 5, in.get(), out.get());
        CHECK(test::error_of(out.values(), expected,
                             [&](std::size_t i) { return test::epsilon32 * std::fabs(expected[i]); }) <= 1);
        device_kernels<T>().dropout.apply({}, n, p, seed.get(), 5, in.get(), in.get());
        CHECK(test::count_different(test::wide(in.values()), test::wide(out.values())) == 0);
      }
  });
}

TEST_CASE("device pooling: windows that overlap, leave gaps or hang over the edge") {
  const Pool2dGeometry shapes[] = {
      {.n = 2, .h = 4, .w = 6, .c = 3},
      {.n = 1, .h = 7, .w = 5, .c = 8, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1},
      {.n = 1,
       .h = 7,
       .w = 7,
       .c = 16,
       .kernel_h = 3,
       .kernel_w = 3,
       .stride_h = 1,
       .stride_w = 1,
       .pad_h = 1,
       .pad_w = 1,
       .count_include_pad = false},
      {.n = 2, .h = 6, .w = 7, .c = 5, .kernel_h = 3, .kernel_w = 2, .stride_h = 2, .stride_w = 3, .ceil_mode = true},
      {.n = 1, .h = 9, .w = 9, .c = 2, .kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 3},
      {.n = 1, .h = 1, .w = 1, .c = 1, .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1}};
  const AdaptivePoolGeometry adaptive[] = {
      {2, 7, 5, 8, 1, 1}, {1, 7, 7, 3, 3, 2}, {1, 2, 3, 4, 7, 7}, {1, 8, 8, 16, 8, 8}};
  for_each_element_type([&](auto zero) {
    using T = decltype(zero);
    const PoolKernels &device = device_kernels<T>().pool, &reference = oracle().pool;
    // Sums of as many terms as a window has, in float.
    const auto close = [](const std::vector<T>& found, const std::vector<double>& expected, std::int64_t terms) {
      return test::error_of(found, expected, [&](std::size_t) {
               return test::dot_tolerance(2 * terms, 2 * static_cast<double>(terms));
             }) <= 1;
    };
    for (const Pool2dGeometry& g : shapes) {
      CAPTURE(g.kernel_h);
      CAPTURE(g.stride_h);
      std::vector<T> x = random<T>(g.n * g.h * g.w * g.c, 1);
      for (std::size_t i = 0; i < x.size(); i += 5) x[i] = T(1.5f);  // ties: the first one counts
      const std::vector<T> dy = random<T>(g.n * g.p() * g.q() * g.c, 2);
      const auto x64 = test::wide(x), dy64 = test::wide(dy);
      std::vector<double> y64(dy.size()), dx64(x.size());
      std::vector<std::int32_t> index64(dy.size());
      const DeviceBuffer<T> in(x), gradient(dy), y(dy.size()), dx(x.size());
      const DeviceBuffer<std::int32_t> index(dy.size());
      reference.max_forward({}, g, x64.data(), y64.data(), index64.data());
      reference.max_backward({}, g, dy64.data(), index64.data(), dx64.data());
      device.max_forward({}, g, in.get(), y.get(), index.get());
      device.max_backward({}, g, gradient.get(), index.get(), dx.get());
      CHECK(test::count_different(test::wide(y.values()), y64) == 0);
      CHECK(index.values() == index64);
      CHECK(close(dx.values(), dx64, g.kernel_h * g.kernel_w));
      device.max_forward({}, g, in.get(), y.get(), nullptr);
      CHECK(test::count_different(test::wide(y.values()), y64) == 0);
      reference.average_forward({}, g, x64.data(), y64.data());
      reference.average_backward({}, g, dy64.data(), dx64.data());
      device.average_forward({}, g, in.get(), y.get());
      device.average_backward({}, g, gradient.get(), dx.get());
      CHECK(close(y.values(), y64, g.kernel_h * g.kernel_w));
      CHECK(close(dx.values(), dx64, g.kernel_h * g.kernel_w));
    }
    for (const AdaptivePoolGeometry& g : adaptive) {
      CAPTURE(g.h);
      CAPTURE(g.p);
      const std::vector<T> x = random<T>(g.n * g.h * g.w * g.c, 1), dy = random<T>(g.n * g.p * g.q * g.c, 2);
      std::vector<double> y64(dy.size()), dx64(x.size());
      reference.adaptive_forward({}, g, test::wide(x).data(), y64.data());
      reference.adaptive_backward({}, g, test::wide(dy).data(), dx64.data());
      const DeviceBuffer<T> in(x), gradient(dy), y(dy.size()), dx(x.size());
      device.adaptive_forward({}, g, in.get(), y.get());
      device.adaptive_backward({}, g, gradient.get(), dx.get());
      CHECK(close(y.values(), y64, g.h * g.w));
      CHECK(close(dx.values(), dx64, g.p * g.q));
    }
  });
}

TEST_CASE("device max pooling: NaN counts as the maximum") {
  const Pool2dGeometry g{.h = 2, .w = 4};
  const DeviceBuffer<float> x(std::vector<float>{1, std::nanf(""), 3, 4, 5, 6, 7, 8}), y(2);
  const DeviceBuffer<std::int32_t> index(2);
  device_kernels<float>().pool.max_forward({}, g, x.get(), y.get(), index.get());
  CHECK(std::isnan(y.values()[0]));
  CHECK(index.values() == std::vector<std::int32_t>{1, 7});
}

}  // namespace retort
