#include "engine/nn/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/tape.h"
#include "engine/ops/elementwise.h"

using namespace retort;

namespace {

/// One f64 parameter of one element, with a gradient given at will.
struct Weight {
  explicit Weight(double value, const char* name = "w") {
    parameter.value = Tensor::full({1}, value, DType::f64).require_grad();
    parameter.name = name;
  }
  void give(double gradient) { accumulate(*parameter.value.slot(), Tensor::full({1}, gradient, DType::f64)); }
  double value() const { return parameter.value.item(); }
  Parameter parameter;
};

doctest::Approx about(double value) { return doctest::Approx(value).epsilon(1e-13); }

/// The weight after each of three steps at lr 0.1 with the gradients 1, -2, 0.5, from 2.
std::vector<double> run(const OptimizerSettings& settings) {
  Weight weight(2);
  Optimizer optimizer({&weight.parameter}, settings);
  std::vector<double> values;
  for (const double gradient : {1.0, -2.0, 0.5}) {
    weight.give(gradient);
    optimizer.step(0.1);
    values.push_back(weight.value());
  }
  return values;
}

}  // namespace

TEST_CASE("sgd: hand-computed steps") {
  SUBCASE("plain") {
    const auto w = run({.momentum = 0});
    CHECK(w[0] == about(1.9));
    CHECK(w[1] == about(2.1));
    CHECK(w[2] == about(2.05));
  }
  SUBCASE("momentum: velocities 1, -1.1, -0.49") {
    const auto w = run({.momentum = 0.9});
    CHECK(w[0] == about(1.9));
    CHECK(w[1] == about(1.9 + 0.11));
    CHECK(w[2] == about(2.01 + 0.049));
  }
  SUBCASE("Nesterov: gradient + 0.9 velocity = 1.9, -2.99, 0.059") {
    const auto w = run({.momentum = 0.9, .nesterov = true});
    CHECK(w[0] == about(2 - 0.19));
    CHECK(w[1] == about(1.81 + 0.299));
    CHECK(w[2] == about(2.109 - 0.0059));
  }
  SUBCASE("weight decay 0.5 adds half the weight to the gradient") {
    const auto w = run({.momentum = 0, .weight_decay = 0.5});
    CHECK(w[0] == about(2 - 0.1 * (1 + 1)));
    CHECK(w[1] == about(1.8 - 0.1 * (-2 + 0.9)));
  }
}

TEST_CASE("sgd: momentum on a constant gradient follows its closed form") {
  Weight weight(1);
  Optimizer optimizer({&weight.parameter}, {.momentum = 0.9});
  double travelled = 0;
  for (int t = 1; t <= 50; ++t) {
    weight.give(3);
    optimizer.step(0.01);
    travelled += (1 - std::pow(0.9, t)) / (1 - 0.9);
    CHECK(weight.value() == about(1 - 0.01 * 3 * travelled));
  }
}

TEST_CASE("adam: on a constant gradient each step is lr * g / (|g| + eps)") {
  for (const double gradient : {2.0, -1e-3}) {
    Weight weight(1);
    Optimizer optimizer({&weight.parameter}, {.kind = OptimizerKind::adam, .eps = 1e-4});
    for (int t = 1; t <= 30; ++t) {
      weight.give(gradient);
      optimizer.step(0.01);
      CHECK(weight.value() == doctest::Approx(1 - t * 0.01 * gradient / (std::abs(gradient) + 1e-4)).epsilon(1e-12));
    }
  }
}

TEST_CASE("adam: hand-computed second step") {
  const auto w = run({.kind = OptimizerKind::adam, .beta1 = 0.5, .beta2 = 0.75, .eps = 0});
  CHECK(w[0] == about(1.9));
  // m = 0.25 - 1 = -0.75, over 1 - 0.25;  v = 0.1875 + 1 = 1.1875, over 1 - 0.5625.
  CHECK(w[1] == about(1.9 + 0.1 * 1 / std::sqrt(1.1875 / 0.4375)));
}

TEST_CASE("adam adds weight decay to the gradient; adamw shrinks the weight beside it") {
  Weight adam(1), adamw(1);
  Optimizer first({&adam.parameter}, {.kind = OptimizerKind::adam, .eps = 0, .weight_decay = 0.5});
  Optimizer second({&adamw.parameter}, {.kind = OptimizerKind::adamw, .eps = 0, .weight_decay = 0.5});
  adam.give(-0.25);
  adamw.give(-0.25);
  first.step(0.01);
  second.step(0.01);
  CHECK(adam.value() == about(1 - 0.01));  // the sign of -0.25 + 0.5
  CHECK(adamw.value() == about(1 * (1 - 0.01 * 0.5) + 0.01));
}

TEST_CASE("a parameter without a gradient stays as it is, and gradients are used up") {
  Weight a(1, "a"), b(1, "b");
  Optimizer optimizer({&a.parameter, &b.parameter}, {.momentum = 0, .weight_decay = 0.5});
  a.give(1);
  optimizer.step(0.1);
  CHECK(a.value() != 1);
  CHECK(b.value() == 1);
  CHECK_FALSE(a.parameter.value.grad());
  const double after = a.value();
  optimizer.step(0.1);
  CHECK(a.value() == after);
  a.give(1);
  optimizer.clear_grads();
  CHECK_FALSE(a.parameter.value.grad());
}

TEST_CASE("buffers and frozen parameters are no business of the optimizer's") {
  Weight trained(1, "trained");
  Parameter buffer;
  buffer.value = Tensor::zeros({3});
  buffer.buffer = true;
  Parameter frozen;
  frozen.value = Tensor::zeros({3});
  frozen.frozen = true;
  Optimizer optimizer({&trained.parameter, &buffer, &frozen}, {});
  CHECK(optimizer.state().size() == 1);
}

TEST_CASE("clipping: the norm over all parameters, scaled down to max_norm and never up") {
  Weight a(0, "a"), b(0, "b");
  Optimizer optimizer({&a.parameter, &b.parameter}, {.momentum = 0, .max_norm = 1});
  a.give(3);
  b.give(4);
  optimizer.step(1);
  CHECK(optimizer.gradient_norm() == about(5));
  CHECK(a.value() == about(-0.6));
  CHECK(b.value() == about(-0.8));
  a.give(0.3);
  b.give(0.4);
  optimizer.step(1);
  CHECK(optimizer.gradient_norm() == about(0.5));
  CHECK(a.value() == about(-0.9));
  Optimizer free({&a.parameter}, {.momentum = 0});
  a.give(100);
  free.step(0);
  CHECK(free.gradient_norm() == 0);
}

TEST_CASE("state: named moments, whose restoration continues to the same bits") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    const OptimizerSettings settings{.kind = kind};
    Weight whole(1), resumed(1);
    const auto steps = [](Weight& weight, Optimizer& optimizer, int from, int to) {
      for (int t = from; t < to; ++t) {
        weight.give(std::sin(t));
        optimizer.step(0.05);
      }
    };
    Optimizer straight({&whole.parameter}, settings), before({&resumed.parameter}, settings);
    steps(whole, straight, 0, 10);
    steps(resumed, before, 0, 4);
    Optimizer after({&resumed.parameter}, settings);
    const auto from = before.state();
    auto to = after.state();
    REQUIRE(from.size() == to.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      CHECK(from[i].first == to[i].first);
      to[i].second.data<double>()[0] = from[i].second.item();
    }
    after.set_steps(before.steps());
    steps(resumed, after, 4, 10);
    CHECK(resumed.value() == whole.value());
    CHECK(after.steps() == 10);
    CHECK(from[0].first == (kind == OptimizerKind::sgd ? "w.momentum" : "w.exp_avg"));
    if (kind != OptimizerKind::sgd) CHECK(from[1].first == "w.exp_avg_sq");
  }
  Weight weight(1);
  CHECK(Optimizer({&weight.parameter}, {.momentum = 0}).state().empty());
}

TEST_CASE("a training loop finds the bottom of a parabola") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    Weight weight(3);
    Optimizer optimizer({&weight.parameter}, {.kind = kind});
    for (int t = 0; t < 400; ++t) {
      Tape tape;
      // d(loss)/dw = w - 1, seeded by hand.
      tape.backward(scale(weight.parameter.value, 1), Tensor::full({1}, weight.value() - 1, DType::f64));
      optimizer.step(0.05);
    }
    CHECK(std::abs(weight.value() - 1) <= 1e-3);
  }
}

TEST_CASE("optimizer: weight decay may leave out vectors, and a parameter may have a learning rate of its own") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    const auto steps = [&](const OptimizerSettings& settings, const Shape& shape, double lr) {
      Parameter w;
      w.value = Tensor::full(shape, 2, DType::f64).require_grad();
      w.name = "w";
      Optimizer optimizer({&w}, settings);
      for (const double gradient : {1.0, -2.0, 0.5}) {
        accumulate(*w.value.slot(), Tensor::full(shape, gradient, DType::f64));
        optimizer.step(lr);
      }
      return w.value.data<double>()[0];
    };
    OptimizerSettings decays{.kind = kind, .weight_decay = 0.3};
    OptimizerSettings spares = decays, none = decays, faster = decays;
    spares.decay_vectors = false;
    none.weight_decay = 0;
    faster.lr_factors = {{"w", 3}, {"another", 7}};
    CHECK(steps(decays, {1}, 0.1) == steps(decays, {1, 1}, 0.1));
    CHECK(steps(spares, {1, 1}, 0.1) == steps(decays, {1, 1}, 0.1));
    CHECK(steps(spares, {1}, 0.1) == steps(none, {1}, 0.1));
    CHECK(steps(spares, {}, 0.1) == steps(none, {}, 0.1));
    CHECK(steps(none, {1}, 0.1) != steps(decays, {1}, 0.1));
    CHECK(steps(faster, {1}, 0.1) == about(steps(decays, {1}, 0.3)));
  }
}

TEST_CASE("optimizer: clipping takes one norm over parameters of all learning rates") {
  const auto run_two = [](const OptimizerSettings& settings) {
    Weight a(2, "a"), b(1, "b");
    Optimizer optimizer({&a.parameter, &b.parameter}, settings);
    a.give(3);
    b.give(4);
    optimizer.step(0.1);
    CHECK(optimizer.gradient_norm() == about(5));
    return std::pair{a.value(), b.value()};
  };
  OptimizerSettings settings{.momentum = 0, .max_norm = 1};
  settings.lr_factors = {{"b", 10}};
  const auto [a, b] = run_two(settings);  // gradients 0.6 and 0.8
  CHECK(a == about(2 - 0.06));
  CHECK(b == about(1 - 0.8));
}
