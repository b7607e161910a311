// The tape: what is recorded, what is saved, in which order gradients arrive, and what is left afterwards.
#include "engine/core/tape.h"

#include <doctest/doctest.h>

#include <sstream>
#include <thread>
#include <utility>

#include "engine/core/arena.h"
#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/loss.h"
#include "engine/ops/pool.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

std::size_t used() { return cpu_arena().statistics().used_bytes; }

Tensor leaf(double value) { return Tensor::full({2}, value, DType::f64).require_grad(); }

Tensor ones() { return Tensor::full({2}, 1, DType::f64); }

double at0(const Tensor& tensor) { return tensor.data<double>()[0]; }

}  // namespace

TEST_CASE("without a tape nothing is recorded and nothing requires a gradient") {
  const Tensor x = leaf(1);
  CHECK(Tape::active() == nullptr);
  CHECK_FALSE(add(x, x).requires_grad());
}

TEST_CASE("without an input that requires a gradient nothing is recorded") {
  Tape tape;
  const Tensor x = ones();
  CHECK_FALSE(relu(add(x, x)).requires_grad());
  CHECK(tape.size() == 0);
}

TEST_CASE("a tape prints its ops in the order of the forward pass, and is empty after backward") {
  const Tensor x = leaf(1);
  Tape tape;
  const Tensor y = relu(add(x, scale(x, 2)));
  std::ostringstream printed;
  printed << tape;
  CHECK(printed.str() == "0 scale\n1 add\n2 relu\n");
  tape.backward(y, ones());
  CHECK(tape.ops().empty());
}

TEST_CASE("NoGrad suspends the tape; a tape inside it records again") {
  const Tensor x = leaf(1);
  Tape tape;
  {
    const NoGrad pause;
    CHECK(Tape::active() == nullptr);
    CHECK_FALSE(relu(x).requires_grad());
    {
      Tape inner;
      CHECK(relu(x).requires_grad());
      CHECK(inner.size() == 1);
    }
    CHECK(Tape::active() == nullptr);
  }
  CHECK(Tape::active() == &tape);
  CHECK(tape.size() == 0);
}

TEST_CASE("tapes nest, and belong to one thread") {
  Tape outer;
  {
    Tape inner;
    CHECK(Tape::active() == &inner);
    Tape* seen = &inner;
    std::thread([&seen] { seen = Tape::active(); }).join();
    CHECK(seen == nullptr);
  }
  CHECK(Tape::active() == &outer);
}

TEST_CASE("a tensor used twice or three times gathers every contribution") {
  const Tensor x = leaf(3);
  SUBCASE("as both inputs of one op") {
    Tape tape;
    tape.backward(add(x, x), ones());
    CHECK(at0(x.grad()) == 2);
  }
  SUBCASE("three times, through ops that hand one gradient on") {
    Tape tape;
    tape.backward(add(add(x, x), x), ones());
    CHECK(at0(x.grad()) == 3);
  }
  SUBCASE("a diamond") {
    Tape tape;
    const Tensor y = scale(x, 2);
    tape.backward(add(scale(y, 3), scale(y, 5)), ones());
    CHECK(at0(x.grad()) == 16);
  }
  SUBCASE("a diamond of adds, where all share one gradient") {
    Tape tape;
    const Tensor y = add(x, x), z = add(y, y);
    tape.backward(add(add(z, y), x), ones());
    CHECK(at0(x.grad()) == 7);
  }
}

TEST_CASE("in-place backward steps do not spoil a gradient that another tensor holds") {
  // add hands one gradient to a and b; scale's backward would multiply it in place if it were alone.
  const Tensor a = leaf(1), b = leaf(1);
  Tape tape;
  const Tensor y = add(scale(a, 2), scale(b, 3));
  tape.backward(add(y, relu(y)), ones());
  CHECK(at0(a.grad()) == 4);
  CHECK(at0(b.grad()) == 6);
}

TEST_CASE("flatten's view shares the gradient's elements with a branch beside it") {
  const Tensor x = spaced_tensor({2, 2, 1, 3}, 5);
  const Function function = [](const std::vector<Tensor>& in) {
    const Tensor flat = flatten(in[0]);
    return add(relu(flat), add(scale(flat, 3), flat));
  };
  CHECK(gradient_error(function, {x}) <= 1);
}

TEST_CASE("the seed is not changed, and may be used again") {
  const Tensor x = leaf(1), seed = ones();
  for (int pass = 0; pass < 2; ++pass) {
    Tape tape;
    tape.backward(scale(scale(x, 2), 5), seed);
  }
  CHECK(at0(seed) == 1);
  CHECK(at0(x.grad()) == 20);  // leaves gather from pass to pass
}

TEST_CASE("clear_grad empties a leaf") {
  Tensor x = leaf(1);
  Tape tape;
  tape.backward(scale(x, 2), ones());
  x.clear_grad();
  CHECK_FALSE(x.grad());
}

TEST_CASE("an output that the loss does not use costs nothing and adds nothing") {
  const Tensor x = leaf(1);
  Tape tape;
  const Tensor unused = scale(relu(x), 100);
  tape.backward(scale(x, 2), ones());
  CHECK(at0(x.grad()) == 2);
  CHECK(tape.size() == 0);
}

TEST_CASE("a leaf without a gradient slot gets none, and costs no work") {
  const Tensor x = random_tensor({2, 3}, 1).require_grad(), weight = random_tensor({3, 4}, 2);
  Tape tape;
  const Tensor y = linear(x, weight, {});
  tape.backward(y, random_tensor({2, 4}, 3));
  CHECK(x.grad());
  CHECK_FALSE(weight.grad());
}

TEST_CASE("backward says what is wrong with its output or seed") {
  const Tensor x = leaf(1);
  Tape tape;
  const std::string foreign =
      "[backward] the output depends on nothing that this tape recorded; compute it under the tape, from a tensor that "
      "requires a gradient";
  CHECK(error_message([&] { tape.backward(x); }) == foreign);
  const Tensor y = scale(x, 2);
  CHECK(error_message([&] { tape.backward(ones()); }) == foreign);
  CHECK(error_message([&] { tape.backward(y); }) ==
        "[backward] the output is f64 [2], the seed missing; give a seed of the output's shape");
  CHECK(error_message([&] { tape.backward(y, Tensor::zeros({3}, DType::f64)); }) ==
        "[backward] the output is f64 [2], the seed f64 [3]; give a seed of the output's shape");
  CHECK(error_message([&] { tape.backward(y, Tensor::zeros({2})); }) ==
        "[backward] the output is f64 [2], the seed f32 [2]; give a seed of the output's shape");
}

TEST_CASE("ops without a tape save nothing: each output's memory goes with it") {
  const Tensor x = Tensor::zeros({2, 8, 8, 4});
  const std::size_t before = used();
  Tensor y = relu(x);
  const std::size_t one = used() - before;
  for (int i = 0; i < 5; ++i) y = relu(y);
  CHECK(used() - before == one);
}

TEST_CASE("a training step gives back all memory but the gradients, and none after they are cleared") {
  Random random(1);
  Conv2d conv1(3, 8, 3, 3, {.pad_h = 1, .pad_w = 1, .relu = true}, true, Init::kaiming_normal_fan_out, random);
  Conv2d conv2(8, 8, 3, 3, {.pad_h = 1, .pad_w = 1}, false, Init::kaiming_normal_fan_out, random);
  BatchNorm2d norm(8);
  Linear head(8, 4, Init::kaiming_uniform_default, random);
  const Tensor x = random_tensor({2, 6, 6, 3}, 2).to(DType::f32);
  const std::vector<std::int64_t> labels{1, 3};
  const Targets targets{.labels = Tensor::from<std::int64_t>({2}, labels), .labels2 = {}, .weight = {}};
  const std::size_t before = used();
  std::size_t peaks[2];
  for (std::size_t& peak : peaks) {
    cpu_arena().reset_peak();
    {
      ForwardContext context;
      context.training = true;
      Tape tape;
      const Tensor a = conv1.forward(x, context);
      const Tensor b = norm.forward(conv2.forward(a, context), context, true, a);
      const Tensor pooled = adaptive_average_pool(max_pool(b, {}), 1, 1);
      const Tensor logits = head.forward(dropout_layer(flatten(pooled), 0.5, context), context);
      const Tensor loss = cross_entropy(logits, targets);
      CHECK(tape.size() == 9);
      tape.backward(loss);
      CHECK(tape.size() == 0);
    }
    CHECK(used() > before);
    for (Parameter* parameter :
         {&conv1.weight, &conv1.bias, &conv2.weight, &norm.weight, &norm.bias, &head.weight, &head.bias}) {
      CHECK(parameter->value.grad().shape() == parameter->value.shape());
      parameter->value.clear_grad();
    }
    CHECK(used() == before);
    peak = cpu_arena().statistics().peak_bytes;
  }
  CHECK(peaks[0] == peaks[1]);
}

TEST_CASE("backward frees what each step saved before the next one runs") {
  // A chain of relus saves one tensor each; backward needs one gradient beside what is still saved.
  const Tensor x = Tensor::full({1000}, 1).require_grad();
  const std::size_t start = used();
  std::size_t one;
  {
    const Tensor y = relu(x);
    one = used() - start;
  }
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = relu(y);
  const Tensor seed = Tensor::full({1000}, 1);
  cpu_arena().reset_peak();
  tape.backward(std::exchange(y, {}), seed);
  // Ten saved outputs and the seed; the last step cannot work in place in the seed, the others can in what it made.
  CHECK(cpu_arena().statistics().peak_bytes - start <= 12 * one);
  CHECK(used() - start == 2 * one);  // the seed and x's gradient
}

TEST_CASE("a tape that is thrown away frees what it saved") {
  const Tensor x = Tensor::full({1000}, 1).require_grad();
  const std::size_t before = used();
  {
    Tape tape;
    Tensor y = x;
    for (int i = 0; i < 10; ++i) y = relu(y);
    CHECK(used() > before);
  }
  CHECK(used() == before);
}

TEST_CASE("backward reports a gradient when no step that is left adds to it") {
  const Tensor early = leaf(1), twice = leaf(2), late = leaf(3), unread = leaf(4), other = leaf(5);
  Tape tape;
  std::vector<std::pair<const GradSlot*, double>> reported;
  tape.report_whole({early.slot().get(), twice.slot().get(), late.slot().get(), unread.slot().get()},
                    [&](const GradSlot& slot) { reported.emplace_back(&slot, at0(slot.grad)); });
  const Tensor y = add(relu(twice), early);  // d = 1 for both
  const Tensor z = add(add(y, scale(late, 5)), add(scale(twice, 10), other));
  tape.backward(z, ones());
  REQUIRE(reported.size() == 3);
  CHECK(reported[0] == std::pair<const GradSlot*, double>(late.slot().get(), 5));
  CHECK(reported[1] == std::pair<const GradSlot*, double>(early.slot().get(), 1));
  CHECK(reported[2] == std::pair<const GradSlot*, double>(twice.slot().get(), 11));
  CHECK(at0(twice.grad()) == 11);
  CHECK_FALSE(unread.grad());
}
