// Batch normalisation of the CUDA kernels against the double reference.
#include "kernels/batch_norm.h"

#include <doctest/doctest.h>

#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::device_kernels;
using test::DeviceBuffer;

struct Setting {
  bool train, relu, residual;
};

/// Everything that one forward and one backward pass write.
struct Results {
  std::vector<double> y, mean, inv_std, running_mean, running_var, dx, dgamma, dbeta, dresidual;
};

struct Inputs {
  std::vector<float> x, residual, dy, gamma, beta, running_mean, running_var;
};

template <class T>
Inputs inputs(const BatchNormGeometry& g, double offset) {
  const std::int64_t n = g.rows * g.channels;
  const auto elements = [](std::vector<float> values) {
    for (float& value : values) value = float(T(value));
    return values;
  };
  return {elements(test::uniform(n, 1, offset - 1, offset + 1)),
          elements(test::uniform(n, 2)),
          elements(test::uniform(n, 3)),
          test::uniform(g.channels, 4, 0.5, 1.5),
          test::uniform(g.channels, 5),
          test::uniform(g.channels, 6, offset - 1, offset + 1),
          test::uniform(g.channels, 7, 0.5, 1.5)};
}

constexpr double kEps = 1e-3, kMomentum = 0.1;

/// With a y, the gradients are of a ReLU that decided as that y did.
Results reference(const BatchNormGeometry& g, const Inputs& in, const Setting& s,
                  const std::vector<double>* decided = nullptr) {
  const BatchNormKernels& norm = kernels_for(Device::reference, DType::f64).batch_norm;
  const auto x = test::widen(in.x), residual = test::widen(in.residual), dy = test::widen(in.dy),
             gamma = test::widen(in.gamma), beta = test::widen(in.beta);
  const std::size_t n = x.size(), c = gamma.size();
  Results r{std::vector<double>(n),       std::vector<double>(c),      std::vector<double>(c),
            test::widen(in.running_mean), test::widen(in.running_var), std::vector<double>(n),
            std::vector<double>(c),       std::vector<double>(c),      std::vector<double>(n)};
  const BatchNormForward f{x.data(), gamma.data(), beta.data(), s.residual ? residual.data() : nullptr,
                           s.relu,   kEps,         r.y.data()};
  if (s.train)
    norm.forward_train({}, g, f, kMomentum, r.mean.data(), r.inv_std.data(), r.running_mean.data(),
                       r.running_var.data(), nullptr);
  else
    norm.forward_eval({}, g, f, r.running_mean.data(), r.running_var.data(), r.mean.data(), r.inv_std.data(), nullptr);
  if (decided) r.y = *decided;
  const BatchNormBackward b{x.data(),    r.y.data(),      dy.data(),        gamma.data(),
                            beta.data(), r.mean.data(),   r.inv_std.data(), s.relu,
                            r.dx.data(), r.dgamma.data(), r.dbeta.data(),   s.residual ? r.dresidual.data() : nullptr};
  (s.train ? norm.backward_train : norm.backward_eval)({}, g, b, nullptr);
  return r;
}

template <class T>
Results on_device(const BatchNormGeometry& g, const Inputs& in, const Setting& s) {
  const BatchNormKernels& norm = device_kernels<T>().batch_norm;
  const DeviceBuffer<T> x(test::narrow<T>(in.x)), residual(test::narrow<T>(in.residual)), dy(test::narrow<T>(in.dy));
  const DeviceBuffer<float> gamma(in.gamma), beta(in.beta), running_mean(in.running_mean), running_var(in.running_var);
  const std::size_t n = in.x.size(), c = in.gamma.size();
  const DeviceBuffer<T> y(n), dx(n), dresidual(n);
  const DeviceBuffer<float> mean(c), inv_std(c), dgamma(c), dbeta(c);
  const DeviceBuffer<char> workspace(norm.workspace_bytes(g));
  const BatchNormForward f{x.get(), gamma.get(), beta.get(), s.residual ? residual.get() : nullptr,
                           s.relu,  kEps,        y.get()};
  if (s.train)
    norm.forward_train({}, g, f, kMomentum, mean.get(), inv_std.get(), running_mean.get(), running_var.get(),
                       workspace.get());
  else
    norm.forward_eval({}, g, f, running_mean.get(), running_var.get(), mean.get(), inv_std.get(), workspace.get());
  if (!s.residual) {
    const DeviceBuffer<T> again(n);
    const BatchNormForward same{x.get(), gamma.get(), beta.get(), nullptr, s.relu, kEps, again.get()};
    norm.apply({}, g, same, mean.get(), inv_std.get(), workspace.get());
    CHECK(test::wide(again.values()) == test::wide(y.values()));
  }
  const BatchNormBackward b{x.get(),       s.relu && s.residual ? y.get() : nullptr,
                            dy.get(),      gamma.get(),
                            beta.get(),    mean.get(),
                            inv_std.get(), s.relu,
                            dx.get(),      dgamma.get(),
                            dbeta.get(),   s.residual ? dresidual.get() : nullptr};
  (s.train ? norm.backward_train : norm.backward_eval)({}, g, b, workspace.get());
  return {test::wide(y.values()),
          test::wide(mean.values()),
          test::wide(inv_std.values()),
          test::wide(running_mean.values()),
          test::wide(running_var.values()),
          test::wide(dx.values()),
          test::wide(dgamma.values()),
          test::wide(dbeta.values()),
          s.residual ? test::wide(dresidual.values()) : std::vector<double>(n)};
}

}  // namespace

TEST_CASE("device batch norm: folded, with a bias and without") {
  const Inputs in = inputs<float>({1, 37}, 0.5);
  const std::vector<float> bias = test::uniform(37, 8);
  const DeviceBuffer<float> gamma(in.gamma), beta(in.beta), mean(in.running_mean), var(in.running_var), there(bias);
  const auto wide_gamma = test::widen(in.gamma), wide_beta = test::widen(in.beta),
             wide_mean = test::widen(in.running_mean), wide_var = test::widen(in.running_var),
             wide_bias = test::widen(bias);
  for (const bool has_bias : {false, true}) {
    const DeviceBuffer<float> scale(37), shift(37);
    std::vector<double> expected_scale(37), expected_shift(37);
    device_kernels<float>().batch_norm.fold({}, 37, gamma.get(), beta.get(), mean.get(), var.get(), kEps,
                                            has_bias ? there.get() : nullptr, scale.get(), shift.get());
    kernels_for(Device::reference, DType::f64)
        .batch_norm.fold({}, 37, wide_gamma.data(), wide_beta.data(), wide_mean.data(), wide_var.data(), kEps,
                         has_bias ? wide_bias.data() : nullptr, expected_scale.data(), expected_shift.data());
    // In double throughout, and rounded once.
    const auto rounded = [](const std::vector<double>& values) {
      return [&](std::size_t i) { return 0.501 * test::epsilon32 * std::fabs(values[i]); };
    };
    CHECK(test::worst(test::wide(scale.values()), expected_scale, rounded(expected_scale)) <= 1);
    CHECK(test::worst(test::wide(shift.values()), expected_shift, rounded(expected_shift)) <= 1);
  }
}

TEST_CASE("device batch norm: forward and backward, in training and evaluation, with residual and ReLU") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const double eps = test::epsilon_of<T>;
    for (const BatchNormGeometry& g : {BatchNormGeometry{2, 1}, {6, 8}, {65, 33}, {130, 3}, {700, 16}})
      for (const Setting& s :
           {Setting{true, false, false}, {true, true, true}, {false, true, false}, {false, false, true}}) {
        CAPTURE(g.rows);
        CAPTURE(g.channels);
        CAPTURE(s.train);
        CAPTURE(s.relu);
        const Inputs in = inputs<T>(g, 0.5);
        const Results found = on_device<T>(g, in, s), expected = reference(g, in, s);
        // Where y is within rounding of 0, ReLU may decide otherwise than the oracle.
        const Results gradients = reference(g, in, s, &found.y);
        // Two rows of one channel may be close together: everything downstream scales with inv_std.
        double sharpest = 1;
        for (const double inv_std : expected.inv_std) sharpest = std::max(sharpest, inv_std);
        const double rows = static_cast<double>(g.rows);
        // Statistics: sums of 8 + 8 terms in float, magnitudes of about 2; then elementwise in float, rounded to T.
        const auto within = [&](const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
          return test::worst(a, b, [&](std::size_t i) { return tolerance * (1 + std::fabs(b[i])); }) <= 1;
        };
        const double statistics = 32 * test::epsilon32 * sharpest;
        CHECK(within(found.mean, expected.mean, statistics));
        CHECK(within(found.inv_std, expected.inv_std, statistics * sharpest));
        CHECK(within(found.running_mean, expected.running_mean, statistics));
        CHECK(within(found.running_var, expected.running_var, statistics));
        CHECK(within(found.y, expected.y, eps + statistics * sharpest));
        CHECK(within(found.dbeta, gradients.dbeta, eps + statistics * rows));
        CHECK(within(found.dgamma, gradients.dgamma, eps + statistics * rows * sharpest));
        CHECK(within(found.dx, gradients.dx, 4 * (eps + statistics * sharpest * sharpest)));
        CHECK(within(found.dresidual, gradients.dresidual, eps));
      }
  });
}

TEST_CASE("device batch norm: a mean far from zero costs no digits of the variance") {
  const BatchNormGeometry g{300, 4};
  const Inputs in = inputs<float>(g, 1000);
  const Results expected = reference(g, in, {true, false, false}),
                found = on_device<float>(g, in, {true, false, false});
  // x itself holds values near 1000 in steps of 2^-14; shifted by a row the sums are exact to a few units of 1e-7.
  for (std::size_t c = 0; c < 4; ++c)
    CHECK(std::fabs(found.inv_std[c] - expected.inv_std[c]) <= 1e-5 * expected.inv_std[c]);
}

TEST_CASE("device batch norm: the same bits in every order of threads") {
  const BatchNormGeometry g{200, 35};
  const Inputs in = inputs<float>(g, 0);
  const Results first = on_device<float>(g, in, {true, true, true});
  test::for_each_order([&] {
    const Results again = on_device<float>(g, in, {true, true, true});
    CHECK(again.y == first.y);
    CHECK(again.dx == first.dx);
    CHECK(again.dgamma == first.dgamma);
  });
}

}  // namespace retort
