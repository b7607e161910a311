#include "engine/ops/rows.h"

#include <doctest/doctest.h>

#include <array>

#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& counts) { return split_rows(x, counts); }

}  // namespace

TEST_CASE("split_rows: views of the rows, of one to four axes") {
  const Tensor x = random_tensor({5, 2, 3, 2}, 1);
  for (const Tensor& input : {x.reshaped({60}), x.reshaped({10, 6}), x.reshaped({20, 1, 3}), x}) {
    const std::int64_t n = input.shape()[0], row = input.count() / n;
    const std::vector<Tensor> parts = split(input, {n - 4, 0, 4});
    REQUIRE(parts.size() == 3);
    CHECK(parts[0].raw() == input.raw());
    CHECK(parts[0].shape()[0] == n - 4);
    CHECK(parts[1].count() == 0);
    CHECK(parts[2].shape().rank() == input.shape().rank());
    CHECK(parts[2].data<double>() == input.data<double>() + (n - 4) * row);
  }
}

TEST_CASE("split_rows: gradients against differences, of parts that are all used, used twice and not used") {
  const Tensor x = random_tensor({5, 3}, 2);
  CHECK(gradient_error(
            [](const auto& in) {
              const auto parts = split(in[0], {2, 3});
              return concat({parts[0], scale(parts[0], 2)});
            },
            {x}) <= 1);
  CHECK(gradient_error([](const auto& in) { return scale(split(in[0], {2, 3})[1], 3); }, {x}) <= 1);
  CHECK(gradient_error(
            [](const auto& in) {
              const auto parts = split(in[0], {2, 1, 2});
              return add(add(parts[0], scale(parts[2], 2)), split(in[0], {2, 3})[0]);
            },
            {x}) <= 1);
}

TEST_CASE("split_rows: without a tape, or a gradient, nothing is recorded") {
  Tensor x = random_tensor({4, 3}, 3);
  {
    const Tape tape;
    CHECK_FALSE(split(x, {1, 3})[0].requires_grad());
    CHECK(tape.size() == 0);
  }
  x.require_grad();
  CHECK_FALSE(split(x, {1, 3})[0].requires_grad());
}

TEST_CASE("split_rows: a loss of parts is the loss of each row by its own rule") {
  const std::int64_t classes = 4;
  const Tensor z0 = random_tensor({5, classes}, 4, -2, 2), v = random_tensor({5, classes}, 5, -2, 2);
  const Tensor labels = Tensor::from<std::int64_t>({5}, std::array<std::int64_t, 5>{1, 3, -1, -1, -1});
  const DistillationSettings labelled{.temperature = 3, .lambda = 0.25, .soft_weight = 1.5};
  DistillationSettings unlabelled = labelled;
  unlabelled.lambda = 0;
  const auto loss = [&](const Tensor& z) {
    const auto parts = split(z, {2, 3});
    const Tensor l =
        distillation_loss(parts[0], v.rows(0, 2), {.labels = labels.rows(0, 2), .labels2 = {}, .weight = {}}, labelled)
            .total;
    const Tensor u = distillation_loss(parts[1], v.rows(2, 3), {}, unlabelled).total;
    return add(scale(l, 2.0 / 5), scale(u, 3.0 / 5));
  };
  double expected = 0;
  for (std::int64_t row = 0; row < 5; ++row) {
    const double *z = z0.data<double>() + row * classes, *t = v.data<double>() + row * classes;
    const auto log_softmax = [&](const double* x, double temperature, std::int64_t i) {
      double sum = 0;
      for (std::int64_t k = 0; k < classes; ++k) sum += std::exp(x[k] / temperature);
      return x[i] / temperature - std::log(sum);
    };
    double kl = 0;
    for (std::int64_t i = 0; i < classes; ++i)
      kl += std::exp(log_softmax(t, 3, i)) * (log_softmax(t, 3, i) - log_softmax(z, 3, i));
    const double hard = row < 2 ? -log_softmax(z, 1, row == 0 ? 1 : 3) : 0;
    expected += (row < 2 ? 0.25 * hard + 1.5 * 0.75 * 9 * kl : 1.5 * 9 * kl) / 5;
  }
  CHECK(loss(z0).item() == doctest::Approx(expected).epsilon(1e-12));
  CHECK(gradient_error([&](const auto& in) { return loss(in[0]); }, {z0}) <= 1);
}

TEST_CASE("split_rows: parts that do not add up are refused") {
  CHECK(error_message([] {
          split(Tensor::zeros({4, 2}), {1, 2});
        }) == "[split_rows] parts of 3 rows in all, for [4, 2]; they must add up");
  CHECK(error_message([] {
          split(Tensor::zeros({4, 2}), {-1, 5});
        }) == "[rows] -1 rows from 0 on of [4, 2]; give rows that are there");
  CHECK(error_message([] { split({}, {}); }) == "[split_rows] the input has no axis; give [n, ...]");
}
