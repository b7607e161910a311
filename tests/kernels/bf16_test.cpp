// The CPU's kernels on bf16 against the double reference on the same, already rounded inputs. Results in bf16 are
// rounded once: half a unit of their last place beside what the sums in float may lose. Convolutions and matrix
// products are in conv2d_test.cpp and gemm_test.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/table.h"
#include "tests/element_types.h"
#include "tests/kernels/cpu_settings.h"

namespace retort {
namespace {

using test::error_of;
using test::unwritten;
using test::wide;
using Elements = std::vector<BFloat16>;

const KernelTable& cpu() { return kernels_for(Device::cpu, DType::bf16); }
const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

Elements random(std::int64_t n, std::uint64_t seed, double low = -2, double high = 2) {
  return test::as<BFloat16>(test::uniform(n, seed, low, high));
}

double exact(std::size_t) { return 0; }

bool same_bits(const Elements& a, const Elements& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(BFloat16)) == 0;
}

// One element, primes, around 4, 8, 16 lanes, and enough for several tasks.
constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 127, 70001};

}  // namespace

TEST_CASE("cpu bf16: conversion rounds to nearest even for every kind of number, and back is exact") {
  // All upper halves of a float, each with lower halves below, at and above the middle.
  std::vector<float> x;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const std::uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const std::uint32_t word = upper << 16 | lower;
      float value;
      std::memcpy(&value, &word, sizeof value);
      x.push_back(value);
    }
  x.push_back(1);  // an odd number
  const auto n = static_cast<std::int64_t>(x.size());
  const Elements expected = test::as<BFloat16>(x);
  test::for_each_cpu_setting([&] {
    Elements narrow = unwritten<BFloat16>(x.size());
    std::vector<float> back = unwritten<float>(x.size());
    cpu().elementwise.convert({}, n, DType::f32, x.data(), DType::bf16, narrow.data());
    CHECK(same_bits(narrow, expected));
    kernels_for(Device::cpu, DType::f32)
        .elementwise.convert({}, n, DType::bf16, narrow.data(), DType::f32, back.data());
    std::int64_t different = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float value = narrow[i];
      different += std::memcmp(&back[i], &value, sizeof value) != 0;
    }
    CHECK(different == 0);
  });
}

TEST_CASE("cpu bf16: maps are rounded once, in place too") {
  test::for_each_cpu_setting([] {
    const ElementwiseKernels &kernel = cpu().elementwise, &reference = oracle().elementwise;
    for (const std::int64_t n : kSizes) {
      CAPTURE(n);
      const Elements a = random(n, 1), b = random(n, 2);
      const auto a64 = wide(a), b64 = wide(b);
      Elements y = unwritten<BFloat16>(a.size()), in_place = a;
      std::vector<double> y64(a.size());
      kernel.add({}, n, a.data(), b.data(), y.data());
      reference.add({}, n, a64.data(), b64.data(), y64.data());
      CHECK(error_of(y, y64, exact) <= 1);
      kernel.add({}, n, in_place.data(), b.data(), in_place.data());
      CHECK(same_bits(in_place, y));
      kernel.scale({}, n, 0.3, a.data(), y.data());
      reference.scale({}, n, double{0.3f}, a64.data(), y64.data());
      CHECK(error_of(y, y64, exact) <= 1);
      const float factor = -1.7f;
      kernel.scale_by({}, n, &factor, a.data(), y.data());
      reference.scale({}, n, double{factor}, a64.data(), y64.data());
      CHECK(error_of(y, y64, exact) <= 1);
      kernel.relu_forward({}, n, a.data(), y.data());
      reference.relu_forward({}, n, a64.data(), y64.data());
      CHECK(test::count_different(wide(y), y64) == 0);
      kernel.relu_backward({}, n, a.data(), b.data(), y.data());
      reference.relu_backward({}, n, a64.data(), b64.data(), y64.data());
      CHECK(test::count_different(wide(y), y64) == 0);
      kernel.fill({}, n, 0.1, y.data());
      CHECK(same_bits(y, Elements(a.size(), BFloat16(0.1f))));
    }
  });
}

TEST_CASE("cpu bf16: NaN and infinity stay what they are") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  test::for_each_cpu_setting([&] {
    Elements x(19, BFloat16(nan)), y = unwritten<BFloat16>(19);
    x[0] = BFloat16(infinity);
    x[1] = BFloat16(-infinity);
    cpu().elementwise.relu_forward({}, 19, x.data(), y.data());
    CHECK(float(y[0]) == infinity);
    CHECK(float(y[1]) == 0);
    CHECK(std::isnan(float(y[2])));
    CHECK(std::isnan(float(y[18])));
    cpu().elementwise.add({}, 19, x.data(), x.data(), y.data());
    CHECK(float(y[1]) == -infinity);
    CHECK(std::isnan(float(y[18])));
  });
}

TEST_CASE("cpu bf16: sum_rows adds in float and double, the same bits whatever the threads") {
  constexpr std::int64_t kShapes[][2] = {{1, 1}, {1, 17}, {63, 3}, {65, 64}, {257, 5}, {3, 1030}, {2000, 37}};
  for (const auto& [rows, channels] : kShapes) {
    const Elements x = random(rows * channels, 5, -1, 3);
    const auto x64 = wide(x), magnitude64 = test::absolute(x64);
    std::vector<double> expected(static_cast<std::size_t>(channels)), magnitude(expected);
    oracle().elementwise.sum_rows({}, rows, channels, x64.data(), expected.data(), nullptr);
    oracle().elementwise.sum_rows({}, rows, channels, magnitude64.data(), magnitude.data(), nullptr);
    std::vector<float> first;
    test::for_each_cpu_setting([&, rows = rows, channels = channels] {
      std::vector<float> y = unwritten<float>(expected.size());
      cpu().elementwise.sum_rows({}, rows, channels, x.data(), y.data(), nullptr);
      CHECK(test::worst(y, expected,
                        [&](std::size_t i) { return test::dot_tolerance(test::float_rows, magnitude[i]); }) <= 1);
      if (num_threads() == 1) first = y;
      CHECK(y == first);
    });
  }
}

TEST_CASE("cpu bf16: copies of channels and shortcuts move the right elements") {
  test::for_each_cpu_setting([] {
    const ElementwiseKernels &kernel = cpu().elementwise, &reference = oracle().elementwise;
    for (const ChannelCopy& copy : {ChannelCopy{5, 3, 7, 2, 9, 4}, ChannelCopy{3001, 17, 17, 0, 40, 23}}) {
      const Elements source = random(copy.rows * copy.source_channels, 1);
      Elements target = random(copy.rows * copy.target_channels, 2);
      std::vector<double> expected = wide(target);
      reference.copy_channels({}, copy, wide(source).data(), expected.data());
      kernel.copy_channels({}, copy, source.data(), target.data());
      CHECK(test::count_different(wide(target), expected) == 0);
    }
    for (const ShortcutGeometry& g : {ShortcutGeometry{2, 5, 4, 3, 6, 2}, ShortcutGeometry{2, 32, 32, 16, 64, 2}}) {
      const Elements x = random(g.n * g.h * g.w * g.c, 1), dy = random(g.n * g.p() * g.q() * g.k, 2);
      std::vector<double> y64(dy.size()), dx64(x.size());
      reference.shortcut_forward({}, g, wide(x).data(), y64.data());
      reference.shortcut_backward({}, g, wide(dy).data(), dx64.data());
      Elements y = unwritten<BFloat16>(dy.size()), dx = unwritten<BFloat16>(x.size());
      kernel.shortcut_forward({}, g, x.data(), y.data());
      kernel.shortcut_backward({}, g, dy.data(), dx.data());
      CHECK(test::count_different(wide(y), y64) == 0);
      CHECK(test::count_different(wide(dx), dx64) == 0);
    }
  });
}

TEST_CASE("cpu bf16: dropout keeps what the oracle keeps") {
  constexpr std::uint64_t kSeed[2] = {0x0123456789abcdefu, 0xfedcba9876543210u};
  for (const std::int64_t n : {1, 3, 4, 1023})
    for (const double p : {0.0, 0.3, 1.0}) {
      const Elements x = random(n, 4);
      std::vector<double> expected(x.size());
      oracle().dropout.apply({}, n, p, kSeed, 5, wide(x).data(), expected.data());
      Elements y = unwritten<BFloat16>(x.size()), in_place = x;
      cpu().dropout.apply({}, n, p, kSeed, 5, x.data(), y.data());
      // The factor is rounded too.
      CHECK(error_of(y, expected, [&](std::size_t i) { return test::epsilon32 * std::fabs(expected[i]); }) <= 1);
      cpu().dropout.apply({}, n, p, kSeed, 5, in_place.data(), in_place.data());
      CHECK(same_bits(in_place, y));
    }
}

TEST_CASE("cpu bf16: pooling, windows that overlap, leave gaps or hang over the edge") {
  const Pool2dGeometry shapes[] = {
      {.n = 2, .h = 4, .w = 6, .c = 3},
      {.n = 1, .h = 7, .w = 5, .c = 33, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1},
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
      {.n = 1, .h = 5, .w = 4, .c = 1100, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1}};
  const AdaptivePoolGeometry adaptive[] = {{2, 7, 5, 8, 1, 1}, {1, 7, 7, 3, 3, 2}, {1, 2, 3, 4, 7, 7}};
  test::for_each_cpu_setting([&] {
    const PoolKernels &kernel = cpu().pool, &reference = oracle().pool;
    // Sums of as many terms as a window has, in float, of elements of at most 2.
    const auto close = [](const Elements& found, const std::vector<double>& expected, std::int64_t terms) {
      return error_of(found, expected,
                      [&](std::size_t) { return test::dot_tolerance(2 * terms, 2 * static_cast<double>(terms)); }) <= 1;
    };
    for (const Pool2dGeometry& g : shapes) {
      CAPTURE(g.kernel_h);
      CAPTURE(g.c);
      Elements x = random(g.n * g.h * g.w * g.c, 1);
      for (std::size_t i = 0; i < x.size(); i += 5) x[i] = BFloat16(1.5f);  // ties: the first one counts
      const Elements dy = random(g.n * g.p() * g.q() * g.c, 2);
      const auto x64 = wide(x), dy64 = wide(dy);
      std::vector<double> y64(dy.size()), dx64(x.size());
      std::vector<std::int32_t> index64(dy.size()), index(dy.size(), -1);
      Elements y = unwritten<BFloat16>(dy.size()), dx = unwritten<BFloat16>(x.size());
      reference.max_forward({}, g, x64.data(), y64.data(), index64.data());
      reference.max_backward({}, g, dy64.data(), index64.data(), dx64.data());
      kernel.max_forward({}, g, x.data(), y.data(), index.data());
      kernel.max_backward({}, g, dy.data(), index.data(), dx.data());
      CHECK(test::count_different(wide(y), y64) == 0);
      CHECK(index == index64);
      CHECK(close(dx, dx64, g.kernel_h * g.kernel_w));
      reference.average_forward({}, g, x64.data(), y64.data());
      reference.average_backward({}, g, dy64.data(), dx64.data());
      kernel.average_forward({}, g, x.data(), y.data());
      kernel.average_backward({}, g, dy.data(), dx.data());
      CHECK(close(y, y64, g.kernel_h * g.kernel_w));
      CHECK(close(dx, dx64, g.kernel_h * g.kernel_w));
    }
    for (const AdaptivePoolGeometry& g : adaptive) {
      CAPTURE(g.h);
      const Elements x = random(g.n * g.h * g.w * g.c, 1), dy = random(g.n * g.p * g.q * g.c, 2);
      std::vector<double> y64(dy.size()), dx64(x.size());
      reference.adaptive_forward({}, g, wide(x).data(), y64.data());
      reference.adaptive_backward({}, g, wide(dy).data(), dx64.data());
      Elements y = unwritten<BFloat16>(dy.size()), dx = unwritten<BFloat16>(x.size());
      kernel.adaptive_forward({}, g, x.data(), y.data());
      kernel.adaptive_backward({}, g, dy.data(), dx.data());
      CHECK(close(y, y64, g.h * g.w));
      CHECK(close(dx, dx64, g.p * g.q));
    }
  });
}

TEST_CASE("cpu bf16: softmax forward and backward") {
  for (const Rows rows : {Rows{1, 1}, {3, 3}, {5, 8}, {4, 17}, {70, 100}, {11, 1000}})
    for (const double temperature : {0.5, 20.0}) {
      CAPTURE(rows.classes);
      CAPTURE(temperature);
      const Elements x = random(rows.rows * rows.classes, 1, -8, 8), dy = random(rows.rows * rows.classes, 2);
      std::vector<double> y64(x.size()), dx64(x.size());
      oracle().softmax.forward({}, rows, temperature, wide(x).data(), y64.data());
      test::for_each_cpu_setting([&] {
        Elements y = unwritten<BFloat16>(x.size()), dx = unwritten<BFloat16>(x.size());
        cpu().softmax.forward({}, rows, temperature, x.data(), y.data());
        // Double inside, then through float.
        CHECK(error_of(y, y64, [&](std::size_t i) { return test::epsilon32 * y64[i]; }) <= 1);
        oracle().softmax.backward({}, rows, temperature, wide(y).data(), wide(dy).data(), dx64.data());
        cpu().softmax.backward({}, rows, temperature, y.data(), dy.data(), dx.data());
        CHECK(error_of(dx, dx64, [&](std::size_t i) { return test::epsilon32 * std::fabs(dx64[i]); }) <= 1);
      });
    }
}

TEST_CASE("cpu bf16: losses are those of the same logits in f32, their gradient rounded") {
  const Rows rows{7, 10};
  const Elements z = random(70, 1, -8, 8), v = random(70, 2, -8, 8);
  const std::vector<float> z32(z.begin(), z.end()), v32(v.begin(), v.end());
  const auto labels = test::integers<std::int64_t>(7, 3, 0, 9);
  const HardTargets targets{.labels = labels.data(), .smoothing = 0.1};
  const LossKernels &kernel = cpu().loss, &f32 = kernels_for(Device::cpu, DType::f32).loss;
  // To the byte, so that a sanitizer sees a workspace that is too small.
  std::vector<char> workspace(kernel.workspace_bytes(rows)), workspace32(f32.workspace_bytes(rows));
  for (const SoftLoss loss : {SoftLoss::kd, SoftLoss::dist}) {
    const DistillationSettings settings{.temperature = 4, .lambda = 0.3, .loss = loss};
    std::vector<float> found = unwritten<float>(3), expected = found, dz32 = unwritten<float>(70);
    Elements dz = unwritten<BFloat16>(70);
    f32.distillation({}, rows, settings, targets, z32.data(), v32.data(), expected.data(), dz32.data(),
                     workspace32.data());
    kernel.distillation({}, rows, settings, targets, z.data(), v.data(), found.data(), dz.data(), workspace.data());
    CHECK(found == expected);
    CHECK(same_bits(dz, test::as<BFloat16>(dz32)));
    kernel.distillation({}, rows, settings, targets, z.data(), v.data(), found.data(), nullptr, workspace.data());
    CHECK(found == expected);
  }
  std::vector<float> found = unwritten<float>(1), expected = found, dz32 = unwritten<float>(70);
  Elements dz = unwritten<BFloat16>(70);
  f32.cross_entropy({}, rows, targets, z32.data(), expected.data(), dz32.data(), workspace32.data());
  kernel.cross_entropy({}, rows, targets, z.data(), found.data(), dz.data(), workspace.data());
  CHECK(found == expected);
  CHECK(same_bits(dz, test::as<BFloat16>(dz32)));
}

// ------------------------------------------------------------------------------------------ batch norm

namespace {

struct NormSetting {
  bool train, relu, residual;
};

/// Everything that one forward and one backward pass write.
template <class T, class P>
struct NormOutputs {
  std::vector<T> y, dx, dresidual;
  std::vector<P> mean, inv_std, running_mean, running_var, dgamma, dbeta;
};

/// T: of activations, P: of parameters.
template <class T, class P>
NormOutputs<T, P> run_norm(const BatchNormKernels& norm, const BatchNormGeometry& g, const NormSetting& s,
                           const std::vector<T>& x, const std::vector<T>& residual, const std::vector<T>& dy) {
  const auto parameter = [&](std::uint64_t seed, double low, double high) {
    const std::vector<float> drawn = test::uniform(g.channels, seed, low, high);
    return std::vector<P>(drawn.begin(), drawn.end());
  };
  const std::vector<P> gamma = parameter(4, 0.5, 1.5), beta = parameter(5, -1, 1);
  const std::vector<P> blank(gamma.size());
  NormOutputs<T, P> out{std::vector<T>(x.size()),
                        std::vector<T>(x.size()),
                        std::vector<T>(x.size()),
                        blank,
                        blank,
                        parameter(6, -1, 1),
                        parameter(7, 0.5, 1.5),
                        blank,
                        blank};
  std::vector<char> workspace(norm.workspace_bytes(g));
  const BatchNormForward f{x.data(), gamma.data(), beta.data(), s.residual ? residual.data() : nullptr,
                           s.relu,   1e-3,         out.y.data()};
  if (s.train)
    norm.forward_train({}, g, f, 0.1, out.mean.data(), out.inv_std.data(), out.running_mean.data(),
                       out.running_var.data(), workspace.data());
  else
    norm.forward_eval({}, g, f, out.running_mean.data(), out.running_var.data(), out.mean.data(), out.inv_std.data(),
                      workspace.data());
  std::vector<T> again(x.size());
  BatchNormForward apply = f;
  apply.y = again.data();
  norm.apply({}, g, apply, out.mean.data(), out.inv_std.data(), workspace.data());
  CHECK(std::memcmp(again.data(), out.y.data(), again.size() * sizeof(T)) == 0);
  const BatchNormBackward b{x.data(),
                            s.relu && s.residual ? out.y.data() : nullptr,  // else ReLU's sign follows from x
                            dy.data(),
                            gamma.data(),
                            beta.data(),
                            out.mean.data(),
                            out.inv_std.data(),
                            s.relu,
                            out.dx.data(),
                            out.dgamma.data(),
                            out.dbeta.data(),
                            s.residual ? out.dresidual.data() : nullptr};
  (s.train ? norm.backward_train : norm.backward_eval)({}, g, b, workspace.data());
  return out;
}

}  // namespace

TEST_CASE("cpu bf16: batch norm forward and backward, statistics in f32") {
  for (const BatchNormGeometry& g : {BatchNormGeometry{2, 1}, {6, 8}, {65, 33}, {130, 3}, {700, 80}})
    for (const NormSetting& s :
         {NormSetting{true, false, false}, {true, true, true}, {false, true, false}, {false, false, true}}) {
      CAPTURE(g.rows);
      CAPTURE(g.channels);
      CAPTURE(s.train);
      CAPTURE(s.relu);
      const std::int64_t n = g.rows * g.channels;
      const Elements x = random(n, 1, -0.5, 1.5), residual = random(n, 2, -1, 1), dy = random(n, 3, -1, 1);
      const auto expected = run_norm<double, double>(oracle().batch_norm, g, s, wide(x), wide(residual), wide(dy));
      // Two rows of one channel may be close together: everything downstream scales with inv_std.
      double sharpest = 1;
      for (const double inv_std : expected.inv_std) sharpest = std::max(sharpest, inv_std);
      // Sums of 64 rows in float, of magnitudes of about 2; then elementwise in float.
      const double statistics = static_cast<double>(test::float_rows) * test::epsilon32 * sharpest;
      const auto within = [&](const std::vector<float>& a, const std::vector<double>& b, double tolerance) {
        return test::worst(a, b, [&](std::size_t i) { return tolerance * (1 + std::fabs(b[i])); }) <= 1;
      };
      const auto noise = [&](double amount) { return [=](std::size_t) { return amount; }; };
      // Where y is within rounding of 0, ReLU may decide otherwise than the oracle: then so may whole gradients.
      std::int64_t undecided = 0;
      if (s.relu)
        for (const double y : expected.y) undecided += y != 0 && std::fabs(y) < statistics * sharpest;
      std::vector<float> first;
      test::for_each_cpu_setting([&] {
        const auto found = run_norm<BFloat16, float>(cpu().batch_norm, g, s, x, residual, dy);
        CHECK(within(found.mean, expected.mean, statistics));
        CHECK(within(found.inv_std, expected.inv_std, statistics * sharpest));
        CHECK(within(found.running_mean, expected.running_mean, statistics));
        CHECK(within(found.running_var, expected.running_var, statistics));
        CHECK(error_of(found.y, expected.y, noise(4 * statistics * sharpest)) <= 1);
        if (num_threads() == 1) first = found.dgamma;
        CHECK(found.dgamma == first);
        if (undecided > 0) return;
        const double rows = static_cast<double>(g.rows);
        CHECK(within(found.dbeta, expected.dbeta, statistics * rows));
        CHECK(within(found.dgamma, expected.dgamma, statistics * rows * sharpest));
        CHECK(error_of(found.dx, expected.dx, noise(16 * statistics * sharpest * sharpest)) <= 1);
        if (s.residual) CHECK(error_of(found.dresidual, expected.dresidual, exact) <= 1);
      });
    }
}

}  // namespace retort
