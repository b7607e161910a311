#include "engine/ops/activation.h"

#include <doctest/doctest.h>

#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("activate: gradients by finite differences, and f32 beside f64") {
  const Activation activations[] = {{ActivationKind::affine, -1.5, 0.25},
                                    {ActivationKind::clip, -0.5, 0.6},
                                    {ActivationKind::sigmoid},
                                    {ActivationKind::silu},
                                    {ActivationKind::hard_sigmoid, 1.0 / 3, 0.5},
                                    {ActivationKind::hard_swish},
                                    {ActivationKind::leaky_relu, 0.1},
                                    {ActivationKind::gelu},
                                    {ActivationKind::gelu_tanh},
                                    {ActivationKind::erf},
                                    {ActivationKind::tanh}};
  // A twentieth off every kink above, and 0.1 apart.
  const Tensor x = spaced_tensor({7, 9}, 1);
  for (const Activation& f : activations) {
    CAPTURE(static_cast<int>(f.kind));
    const Function function = [&](const auto& in) { return activate(in[0], f); };
    CHECK(gradient_error(function, {x}) <= 1);
    CHECK(f32_error(function, {x}, 64) <= 1);
  }
}
