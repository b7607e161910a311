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
using test::epsilon32;
using test::uniform;
using test::worst;

/// Everything a batch norm reads and writes, in T.
template <class T>
struct Case {
  BatchNormGeometry g;
  std::vector<T> x, gamma, beta, residual, dy;  // residual may be empty
  bool relu = false;
  double eps = 1e-5, momentum = 0.1;
  std::vector<T> y, mean, inv_std, running_mean, running_var, dx, dgamma, dbeta, dresidual;

  void run(const KernelTable& kernels, bool train) {
    const std::int64_t n = g.rows * g.channels;
    y = dx = dresidual = blank<T>(n);
    dgamma = dbeta = blank<T>(g.channels);
    // To the byte, so that a sanitizer sees a workspace that is too small.
    std::vector<char> workspace(kernels.batch_norm.workspace_bytes(g));
    const BatchNormForward forward = {x.data(), gamma.data(), beta.data(), residual.empty() ? nullptr : residual.data(),
                                      relu,     eps,          y.data()};
    if (train) {
      mean = inv_std = blank<T>(g.channels);
      kernels.batch_norm.forward_train({}, g, forward, momentum, mean.data(), inv_std.data(), running_mean.data(),
                                       running_var.data(), workspace.data());
    } else {
      kernels.batch_norm.forward_eval({}, g, forward, running_mean.data(), running_var.data(), nullptr, nullptr,
                                      workspace.data());
    }
  }

  void run_backward(const KernelTable& kernels, bool train, bool sign_from_x = false) {
    std::vector<char> workspace(kernels.batch_norm.workspace_bytes(g));
    const BatchNormBackward backward = {x.data(),       relu && !sign_from_x ? y.data() : nullptr,
                                        dy.data(),      gamma.data(),
                                        beta.data(),    mean.data(),
                                        inv_std.data(), relu,
                                        dx.data(),      dgamma.data(),
                                        dbeta.data(),   dresidual.data()};
    (train ? kernels.batch_norm.backward_train : kernels.batch_norm.backward_eval)({}, g, backward, workspace.data());
  }
};

Case<float> make(BatchNormGeometry g, bool residual, bool relu, double mean, double spread) {
  const std::int64_t n = g.rows * g.channels;
  Case<float> c;
  c.g = g;
  c.x = uniform(n, 1, mean - spread, mean + spread);
  c.gamma = uniform(g.channels, 2, -2, 2);
  c.beta = uniform(g.channels, 3);
  if (residual) c.residual = uniform(n, 4);
  c.dy = uniform(n, 5);
  c.relu = relu;
  c.running_mean = uniform(g.channels, 6);
  c.running_var = uniform(g.channels, 7, 0.5, 2);
  return c;
}

Case<double> widen(const Case<float>& c) {
  using test::widen;
  Case<double> wide;
  wide.g = c.g;
  wide.x = widen(c.x), wide.gamma = widen(c.gamma), wide.beta = widen(c.beta), wide.residual = widen(c.residual);
  wide.dy = widen(c.dy), wide.y = widen(c.y), wide.mean = widen(c.mean), wide.inv_std = widen(c.inv_std);
  wide.running_mean = widen(c.running_mean), wide.running_var = widen(c.running_var);
  wide.relu = c.relu;
  const std::int64_t n = c.g.rows * c.g.channels;
  wide.dx = wide.dresidual = blank<double>(n);
  wide.dgamma = wide.dbeta = blank<double>(c.g.channels);
  return wide;
}

const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

// A sum of float_rows terms, and a handful of roundings around it.
constexpr double kSum = static_cast<double>(test::float_rows) / 2 + 4;

/// Under every CPU setting.
void check_forward(const Case<float>& given, bool train) {
  Case<double> expected = widen(given);
  expected.run(oracle(), train);
  if (!train) {
    expected.mean = expected.running_mean;
    for (const double variance : expected.running_var) expected.inv_std.push_back(1 / std::sqrt(variance + given.eps));
  }
  const std::size_t channels = static_cast<std::size_t>(given.g.channels);
  // The statistics are off by kSum roundings of the deviation, 1 after normalisation, the mean by its own rounding, and
  // the sum has a few of its own.
  std::vector<double> allowed(expected.y.size());
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    const std::size_t c = i % channels;
    const double deviation = std::fabs(expected.x[i] - expected.mean[c]) * expected.inv_std[c];
    const double residual = given.residual.empty() ? 0 : std::fabs(expected.residual[i]);
    const double rounded_mean = std::fabs(expected.mean[c]) * expected.inv_std[c] / 2;
    allowed[i] = epsilon32 * (std::fabs(expected.gamma[c]) * (kSum * (1 + deviation) + rounded_mean) +
                              2 * (std::fabs(expected.beta[c]) + residual));
  }
  test::for_each_cpu_setting([&] {
    Case<float> c = given;
    c.run(kernels_for(Device::cpu, DType::f32), train);
    CHECK(worst(c.y, expected.y, [&](std::size_t i) { return allowed[i]; }) <= 1);
    if (!train) return;
    CHECK(worst(c.mean, expected.mean, [&](std::size_t i) {
            return epsilon32 * (std::fabs(expected.mean[i]) + kSum / expected.inv_std[i]);
          }) <= 1);
    CHECK(worst(c.inv_std, expected.inv_std, [&](std::size_t i) { return kSum * epsilon32 * expected.inv_std[i]; }) <=
          1);
    CHECK(worst(c.running_mean, expected.running_mean, [&](std::size_t i) {
            return epsilon32 * (std::fabs(expected.running_mean[i]) + kSum / expected.inv_std[i]);
          }) <= 1);
    CHECK(worst(c.running_var, expected.running_var,
                [&](std::size_t i) { return 2 * kSum * epsilon32 * expected.running_var[i]; }) <= 1);
  });
}

/// Under every CPU setting.
void check_backward(Case<float> given, bool train) {
  given.run(kernels_for(Device::reference, DType::f32), true);  // for y, mean and inv_std
  Case<double> expected = widen(given);
  expected.run_backward(oracle(), train);
  // Sums of absolute values, as the errors grow with these.
  const std::size_t channels = static_cast<std::size_t>(given.g.channels);
  const auto normalized = [&](std::size_t i) {
    return std::fabs((expected.x[i] - expected.mean[i % channels]) * expected.inv_std[i % channels]);
  };
  std::vector<double> sum(channels), product(channels), allowed(expected.dx.size());
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    const double gradient = std::fabs(expected.dresidual[i]);
    sum[i % channels] += gradient;
    product[i % channels] += gradient * normalized(i);
  }
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    const std::size_t c = i % channels;
    const double through = train ? kSum / static_cast<double>(given.g.rows) : 0;
    allowed[i] = epsilon32 * std::fabs(expected.gamma[c] * expected.inv_std[c]) *
                 (2 * std::fabs(expected.dresidual[i]) + through * (sum[c] + normalized(i) * product[c]));
  }
  test::for_each_cpu_setting([&] {
    Case<float> c = given;
    c.run_backward(kernels_for(Device::cpu, DType::f32), train);
    CHECK(test::count_different(c.dresidual, expected.dresidual) == 0);
    CHECK(worst(c.dbeta, expected.dbeta, [&](std::size_t i) { return kSum * epsilon32 * sum[i]; }) <= 1);
    CHECK(worst(c.dgamma, expected.dgamma, [&](std::size_t i) { return kSum * epsilon32 * product[i]; }) <= 1);
    CHECK(worst(c.dx, expected.dx, [&](std::size_t i) { return allowed[i]; }) <= 1);
  });
}

// One row, one channel, primes, around one and four vectors of 8 and 16 lanes, around blocks of 64 rows and their 32
// ranges.
constexpr BatchNormGeometry kShapes[] = {{1, 1},  {2, 1},   {1, 17},  {3, 7},    {64, 8},   {65, 16},
                                         {5, 33}, {63, 64}, {97, 65}, {131, 80}, {4099, 3}, {2051, 35}};

}  // namespace

TEST_CASE("cpu batch_norm: forward equals the oracle") {
  for (const BatchNormGeometry& g : kShapes)
    for (int variant = 0; variant < 4; ++variant)
      for (const bool train : {true, false}) {
        CAPTURE(g.rows);
        CAPTURE(g.channels);
        CAPTURE(variant);
        CAPTURE(train);
        check_forward(make(g, (variant & 1) != 0, (variant & 2) != 0, 0.3, 2), train);
      }
}

TEST_CASE("cpu batch_norm: backward equals the oracle") {
  for (const BatchNormGeometry& g : kShapes)
    for (const bool relu : {false, true})
      for (const bool train : {true, false}) {
        CAPTURE(g.rows);
        CAPTURE(g.channels);
        CAPTURE(relu);
        CAPTURE(train);
        check_backward(make(g, true, relu, 0.3, 2), train);
      }
}

TEST_CASE("batch_norm: y once more to the same bits, and gradients without y") {
  const auto check = [](const KernelTable& kernels) {
    for (const BatchNormGeometry& g : kShapes)
      for (const bool relu : {false, true}) {
        Case<float> c = make(g, false, relu, 0.3, 2);
        c.run(kernels, true);
        std::vector<float> again = blank<float>(g.rows * g.channels);
        const BatchNormForward forward = {c.x.data(), c.gamma.data(), c.beta.data(), nullptr, relu, 0, again.data()};
        std::vector<char> workspace(kernels.batch_norm.workspace_bytes(g));
        kernels.batch_norm.apply({}, g, forward, c.mean.data(), c.inv_std.data(), workspace.data());
        CHECK(again == c.y);
        for (const bool train : {true, false}) {
          Case<float> of_y = c, from_x = c;
          of_y.run_backward(kernels, train);
          from_x.run_backward(kernels, train, /*sign_from_x=*/true);
          CHECK(from_x.dx == of_y.dx);
          CHECK(from_x.dgamma == of_y.dgamma);
          CHECK(from_x.dbeta == of_y.dbeta);
          CHECK(from_x.dresidual == of_y.dresidual);
        }
      }
  };
  check(kernels_for(Device::reference, DType::f32));
  test::for_each_cpu_setting([&] { check(kernels_for(Device::cpu, DType::f32)); });
}

TEST_CASE("cpu batch_norm: folded, with a bias and without") {
  const Case<float> c = make({1, 37}, false, false, 0, 1);
  const Case<double> wide = widen(c);
  const std::vector<float> bias = uniform(37, 8);
  const std::vector<double> wide_bias = test::widen(bias);
  for (const bool has_bias : {false, true}) {
    std::vector<float> scale = blank<float>(37), shift = scale;
    std::vector<double> expected_scale = blank<double>(37), expected_shift = expected_scale;
    kernels_for(Device::cpu, DType::f32)
        .batch_norm.fold({}, 37, c.gamma.data(), c.beta.data(), c.running_mean.data(), c.running_var.data(), c.eps,
                         has_bias ? bias.data() : nullptr, scale.data(), shift.data());
    oracle().batch_norm.fold({}, 37, wide.gamma.data(), wide.beta.data(), wide.running_mean.data(),
                             wide.running_var.data(), wide.eps, has_bias ? wide_bias.data() : nullptr,
                             expected_scale.data(), expected_shift.data());
    // In double throughout, and rounded once.
    const auto rounded = [](const std::vector<double>& values) {
      return [&](std::size_t i) { return 0.501 * epsilon32 * std::fabs(values[i]); };
    };
    CHECK(worst(scale, expected_scale, rounded(expected_scale)) <= 1);
    CHECK(worst(shift, expected_shift, rounded(expected_shift)) <= 1);
  }
}

TEST_CASE("cpu batch_norm: a mean of a thousand deviations costs no more than its rounding, one that drifts nothing") {
  check_forward(make({1000, 19}, false, false, 1000, 1), true);
  check_backward(make({1000, 19}, false, true, 1000, 1), true);
  Case<float> drifting = make({1000, 19}, false, false, 0, 1);
  for (std::size_t i = 0; i < drifting.x.size(); ++i)
    drifting.x[i] += i < drifting.x.size() / 4 ? -30.0f : static_cast<float>(i) * 1e-3f;
  check_forward(drifting, true);
}

TEST_CASE("cpu batch_norm: a constant channel has variance 0, and a single row keeps running_var finite") {
  test::for_each_cpu_setting([] {
    Case<float> c = make({200, 5}, false, false, 0, 1);
    for (float& value : c.x) value = 0.1f;
    c.running_var.assign(5, 1.0f);
    c.run(kernels_for(Device::cpu, DType::f32), true);
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK(std::fabs(c.mean[i] - 0.1) <= epsilon32 * 0.1);
      CHECK(std::fabs(c.inv_std[i] - 1 / std::sqrt(1e-5)) <= 4 * epsilon32 / std::sqrt(1e-5));
      CHECK(std::fabs(c.running_var[i] - 0.9) <= epsilon32);
      CHECK(std::fabs(c.y[i] - c.beta[i]) <= 1e-4);
    }
    Case<float> single = make({1, 5}, false, false, 0, 1);
    single.run(kernels_for(Device::cpu, DType::f32), true);
    for (const float variance : single.running_var) CHECK(std::isfinite(variance));
  });
}

TEST_CASE("cpu batch_norm: outputs that are not wanted may be null, and the others stay the same") {
  test::for_each_cpu_setting([&] {
    const KernelTable& kernels = kernels_for(Device::cpu, DType::f32);
    for (const bool train : {true, false}) {
      Case<float> c = make({77, 21}, true, true, 0, 1);
      c.run(kernels, true);
      c.run_backward(kernels, train);
      const Case<float> all = c;
      std::vector<char> workspace(kernels.batch_norm.workspace_bytes(c.g));
      for (int wanted = 0; wanted < 16; ++wanted) {
        c.dx = c.dresidual = blank<float>(77 * 21);
        c.dgamma = c.dbeta = blank<float>(21);
        const BatchNormBackward b = {c.x.data(),
                                     c.y.data(),
                                     c.dy.data(),
                                     c.gamma.data(),
                                     c.beta.data(),
                                     c.mean.data(),
                                     c.inv_std.data(),
                                     true,
                                     wanted & 1 ? c.dx.data() : nullptr,
                                     wanted & 2 ? c.dgamma.data() : nullptr,
                                     wanted & 4 ? c.dbeta.data() : nullptr,
                                     wanted & 8 ? c.dresidual.data() : nullptr};
        (train ? kernels.batch_norm.backward_train : kernels.batch_norm.backward_eval)({}, c.g, b, workspace.data());
        CHECK(((c.dx == all.dx) == ((wanted & 1) != 0)));
        CHECK(((c.dgamma == all.dgamma) == ((wanted & 2) != 0)));
        CHECK(((c.dbeta == all.dbeta) == ((wanted & 4) != 0)));
        CHECK(((c.dresidual == all.dresidual) == ((wanted & 8) != 0)));
      }
    }
  });
}

TEST_CASE("cpu batch_norm: the same bits whatever the threads") {
  Case<float> first;
  test::for_each_cpu_setting([&] {
    Case<float> c = make({2051, 67}, true, true, 0, 1);
    c.run(kernels_for(Device::cpu, DType::f32), true);
    c.run_backward(kernels_for(Device::cpu, DType::f32), true);
    if (num_threads() == 1) first = c;
    CHECK(c.y == first.y);
    CHECK(c.dx == first.dx);
    CHECK(c.dgamma == first.dgamma);
    CHECK(c.running_var == first.running_var);
  });
}

TEST_CASE("batch_norm: NaN in x reaches y and the running statistics") {
  test::for_each_cpu_setting([] {
    for (const Device device : {Device::cpu, Device::reference}) {
      Case<float> c = make({70, 3}, false, true, 0, 1);
      c.x[4] = std::numeric_limits<float>::quiet_NaN();  // channel 1
      c.run(kernels_for(device, DType::f32), true);
      CHECK(std::isnan(c.y[1]));
      CHECK(std::isnan(c.running_mean[1]));
      CHECK(std::isnan(c.running_var[1]));
      CHECK(std::isfinite(c.y[0]));
    }
  });
}

}  // namespace retort
