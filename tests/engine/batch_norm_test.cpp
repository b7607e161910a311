#include "engine/ops/batch_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/arena.h"
#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

/// x, gamma, beta.
std::vector<Tensor> inputs(const Shape& shape, std::uint64_t seed = 1) {
  const std::int64_t c = shape[-1];
  return {random_tensor(shape, seed), random_tensor({c}, seed + 1, 0.5, 2), random_tensor({c}, seed + 2)};
}

/// batch_norm of in = x, gamma, beta and perhaps a residual, on running statistics that start afresh each time.
Function function(const BatchNormOptions& options) {
  return [options](const std::vector<Tensor>& in) {
    const std::int64_t c = in[1].count();
    Tensor mean = random_tensor({c}, 8).to(in[0].dtype()), var = random_tensor({c}, 9, 0.5, 2).to(in[0].dtype());
    return batch_norm(in[0], in[1], in[2], mean, var, options, in.size() > 3 ? in[3] : Tensor());
  };
}

/// A residual that takes every sum 1 to 6 away from 0, to either side.
Tensor residual_off_zero(const std::vector<Tensor>& in, const BatchNormOptions& options) {
  const Tensor y = function(options)(in);
  REQUIRE(max_magnitude(y) < 6);
  Tensor residual = Tensor::empty(y.shape(), DType::f64);
  for (std::int64_t i = 0; i < y.count(); ++i) residual.data<double>()[i] = i % 3 == 0 ? -7 : 7;
  return residual;
}

const Shape shapes[] = {{2, 3, 2, 3}, {5, 4}, {3, 2, 2, 1}};

}  // namespace

TEST_CASE("batch_norm: gradients of input, gamma and beta, training and not") {
  for (const bool training : {true, false})
    for (const Shape& shape : shapes) {
      CAPTURE(to_string(shape));
      const Function norm = function({.training = training});
      CHECK(gradient_error(norm, inputs(shape), {.third_derivative = 300}) <= 1);
      CHECK(f32_error(norm, inputs(shape), 100) <= 1);
    }
}

TEST_CASE("batch_norm: a convolution behind it has the gradients of one that kept its input") {
  for (const bool training : {true, false}) {
    auto in = inputs({2, 5, 4, 3});
    in.push_back(random_tensor({3, 3, 3, 2}, 6));
    const Function norm = function({.training = training});
    CHECK(gradient_error(
              [&](const std::vector<Tensor>& all) {
                return conv2d(norm({all[0], all[1], all[2]}), all[3], {}, {.pad_h = 1});
              },
              in, {.third_derivative = 3000}) <= 1);
  }
}

TEST_CASE("batch_norm: its output is not kept for what follows but computed again, to the same bits") {
  Arena arena;
  const ArenaScope scope(Device::cpu, arena);
  auto in = inputs({4, 8, 8, 32});
  for (Tensor& tensor : in) tensor = tensor.to(DType::f32).require_grad();
  const Tensor weight = random_tensor({1, 1, 32, 4}, 6).to(DType::f32).require_grad();
  Tape tape;
  Tensor y = function({.training = true, .relu = true})(in);
  const std::vector<float> expected(y.span<float>().begin(), y.span<float>().end());
  Saved saved(y);
  const Tensor z = conv2d(y, weight, {}, {});
  const std::size_t held = arena.statistics().used_bytes, bytes = y.bytes();
  y = {};
  CHECK(held - arena.statistics().used_bytes >= bytes);
  const Tensor again = saved.take();
  CHECK(std::vector<float>(again.span<float>().begin(), again.span<float>().end()) == expected);
  tape.backward(z, Tensor::full(z.shape(), 1));
  CHECK(weight.grad());
}

TEST_CASE("batch_norm: gradients with a residual") {
  for (const bool training : {true, false})
    for (const Shape& shape : shapes) {
      auto in = inputs(shape);
      in.push_back(random_tensor(shape, 5));
      CHECK(gradient_error(function({.training = training}), in, {.third_derivative = 300}) <= 1);
    }
}

TEST_CASE("batch_norm: gradients with a residual and ReLU, which equal add() and relu() after it") {
  for (const bool training : {true, false})
    for (const Shape& shape : shapes) {
      const BatchNormOptions plain{.training = training};
      BatchNormOptions with_relu = plain;
      with_relu.relu = true;
      auto in = inputs(shape);
      in.push_back(residual_off_zero(in, plain));
      CHECK(gradient_error(function(with_relu), in, {.third_derivative = 300}) <= 1);
      CHECK(f32_error(function(with_relu), in, 100) <= 1);
      const Tensor apart = relu(add(function(plain)({in[0], in[1], in[2]}), in[3]));
      CHECK(max_difference(function(with_relu)(in), apart) <= 4 * epsilon64 * max_magnitude(apart));
    }
}

TEST_CASE("batch_norm: gradients with ReLU and no residual") {
  for (const bool training : {true, false}) {
    auto in = inputs({3, 2, 2, 2});
    // Channel 0 is positive throughout, channel 1 negative.
    in[2] = Tensor::full({2}, 8, DType::f64);
    in[2].data<double>()[1] = -8;
    const Function norm = function({.training = training, .relu = true});
    CHECK(max_magnitude(norm(in)) > 0);
    CHECK(gradient_error(norm, in, {.third_derivative = 300}) <= 1);
  }
}

TEST_CASE("batch_norm: the same tensor as input and residual") {
  const Function norm = function({});
  const auto in = inputs({3, 2, 2, 2});
  CHECK(gradient_error(
            [&](const auto& x) {
              return norm({x[0], x[1], x[2], x[0]});
            },
            in, {.third_derivative = 300}) <= 1);
}

TEST_CASE("batch_norm: gradients only where they are wanted") {
  const auto in = inputs({3, 2, 2, 2});
  for (std::size_t i = 0; i < 3; ++i) {
    const Function one = [&in, i](const std::vector<Tensor>& x) {
      auto all = in;
      all[i] = x[0];
      return function({})(all);
    };
    CHECK(gradient_error(one, {in[i]}, {.third_derivative = 300}) <= 1);
  }
}

TEST_CASE("batch_norm: training normalises and moves the running statistics, with the unbiased variance") {
  const std::vector<double> values{1, 2, 3, 6};
  Tensor mean = Tensor::full({1}, 10, DType::f64), var = Tensor::full({1}, 20, DType::f64);
  const Tensor y = batch_norm(Tensor::from<double>({4, 1}, values), Tensor::full({1}, 2, DType::f64),
                              Tensor::full({1}, 1, DType::f64), mean, var, {.momentum = 0.25, .eps = 0});
  // Mean 3, squares 4 + 1 + 0 + 9 = 14: variance 3.5, unbiased 14 / 3.
  CHECK(mean.item() == doctest::Approx(0.75 * 10 + 0.25 * 3).epsilon(1e-15));
  CHECK(var.item() == doctest::Approx(0.75 * 20 + 0.25 * 14 / 3).epsilon(1e-15));
  CHECK(y.data<double>()[3] == doctest::Approx(2 * 3 / std::sqrt(3.5) + 1).epsilon(1e-15));
}

TEST_CASE("batch_norm: evaluation uses the running statistics and leaves them, and backward keeps those it used") {
  const auto in = inputs({4, 2});
  Tensor mean = random_tensor({2}, 8), var = random_tensor({2}, 9, 0.5, 2);
  const Tensor mean_before = mean.clone(), var_before = var.clone();
  const Tensor x = in[0].clone().require_grad(), gamma = in[1].clone().require_grad();
  Tape tape;
  const Tensor y = batch_norm(x, gamma, in[2], mean, var, {.training = false});
  CHECK(max_difference(mean, mean_before) == 0);
  CHECK(max_difference(var, var_before) == 0);
  std::ranges::fill(mean.span<double>(), 1e6);
  std::ranges::fill(var.span<double>(), 1e6);
  tape.backward(y, Tensor::full({4, 2}, 1, DType::f64));
  const double expected = in[1].data<double>()[1] / std::sqrt(var_before.data<double>()[1] + 1e-5);
  CHECK(x.grad().data<double>()[1] == doctest::Approx(expected).epsilon(1e-14));
  double dgamma = 0;
  for (std::int64_t row = 0; row < 4; ++row)
    dgamma +=
        (x.data<double>()[row * 2] - mean_before.data<double>()[0]) / std::sqrt(var_before.data<double>()[0] + 1e-5);
  CHECK(gamma.grad().data<double>()[0] == doctest::Approx(dgamma).epsilon(1e-13));
}

TEST_CASE("batch_norm: statistics over the ranks are, for one rank alone, those of its batch, forward and backward") {
  for (const bool relu : {false, true})
    for (const bool with_residual : {false, true}) {
      CAPTURE(relu);
      CAPTURE(with_residual);
      const auto run = [&](std::optional<double> share) {
        std::vector<Tensor> in = inputs({6, 3, 2, 5});
        in.push_back(random_tensor({6, 3, 2, 5}, 7));
        for (Tensor& tensor : in) tensor = tensor.to(DType::f32).require_grad();
        Tensor mean = random_tensor({5}, 8).to(DType::f32), var = random_tensor({5}, 9, 0.5, 2).to(DType::f32);
        Tape tape;
        const Tensor y = batch_norm(in[0], in[1], in[2], mean, var, {.relu = relu, .share = share},
                                    with_residual ? in[3] : Tensor());
        tape.backward(y, random_tensor(y.shape(), 10).to(DType::f32));
        std::vector<Tensor> found{y, mean, var, in[0].grad(), in[1].grad(), in[2].grad()};
        if (with_residual) found.push_back(in[3].grad());
        std::vector<double> values;
        for (const Tensor& tensor : found)
          for (const float value : tensor.span<float>()) values.push_back(value);
        return values;
      };
      const std::vector<double> alone = run({}), over_ranks = run(1);
      REQUIRE(alone.size() == over_ranks.size());
      // Values of magnitude 4 at most, each after some ten roundings more than the other's.
      for (std::size_t i = 0; i < alone.size(); ++i) CHECK(std::abs(alone[i] - over_ranks[i]) <= 64 * 0x1p-24);
    }
  const std::vector<Tensor> in = inputs({4, 3});
  CHECK_THROWS_WITH(function({.share = 1})(in), "[batch_norm] the ranks' statistics are f32; give x in f32 or bf16");
}

TEST_CASE("batch_norm: shapes that do not fit are named") {
  const Tensor x = Tensor::zeros({4, 3}), three = Tensor::zeros({3}), two = Tensor::zeros({2});
  Tensor mean = Tensor::zeros({3}), var = Tensor::full({3}, 1), short_mean = Tensor::zeros({2});
  CHECK(error_message([&] { batch_norm({}, three, three, mean, var, {}); }) ==
        "[batch_norm] the input has the shape []; give [..., c] with at least one row");
  CHECK(error_message([&] { batch_norm(x, two, three, mean, var, {}); }) ==
        "[batch_norm] gamma is f32 [2]; give f32 [3]");
  CHECK(error_message([&] { batch_norm(x, three, {}, mean, var, {}); }) == "[batch_norm] beta is empty; give f32 [3]");
  CHECK(error_message([&] { batch_norm(x, three, three, short_mean, var, {}); }) ==
        "[batch_norm] running_mean is f32 [2]; give f32 [3]");
  CHECK(error_message([&] { batch_norm(x, three, three, mean, short_mean, {}); }) ==
        "[batch_norm] running_var is f32 [2]; give f32 [3]");
  CHECK(error_message([&] {
          batch_norm(x, three, three, mean, var, {}, Tensor::zeros({3, 4}));
        }) == "[batch_norm] the residual is f32 [3, 4]; give f32 [4, 3]");
  CHECK(error_message([&] {
          batch_norm(Tensor::zeros({1, 1, 1, 3}), three, three, mean, var, {});
        }) ==
        "[batch_norm] training on [1, 1, 1, 3] leaves one value a channel, which has no variance; use a larger "
        "--batch-size or --image-size");
  CHECK(batch_norm(Tensor::zeros({1, 3}), three, three, mean, var, {.training = false}).shape() == Shape{1, 3});
}
