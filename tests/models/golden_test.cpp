// Networks against PyTorch: see tests/golden/make_golden.py.
#include <doctest/doctest.h>

#include "engine/core/tape.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "tests/error_message.h"
#include "tests/models/golden.h"
#include "tests/tolerance.h"

using namespace retort;
using namespace retort::test;

namespace {

/// The contract's bound on float32 logits.
constexpr double kForward = 2e-5;
/// float64 against float64: some tens of layers, sums of some thousand terms, gradients that batch norm cancels in
/// part.
constexpr double kDouble = 1e6 * epsilon64;

/// One activation on the other side of ReLU's kink moves the gradients of a small network by this much; whether one is
/// depends on the order of additions (1.6e-3 for resnet20_32 with one of PyTorch's backends, 3e-6 with another).
constexpr double kKink = 2e-3;

struct Golden {
  explicit Golden(const char* name) : expected(read_golden(name)) {
    const auto size = expected["image_size"].get<std::int64_t>(), batch = expected["batch"].get<std::int64_t>();
    const auto classes = expected["classes"].get<std::int64_t>();
    ModelSpec spec = spec_of(expected["architecture"].get<std::string>(), classes, size);
    spec.auxiliary = expected["auxiliary"].get<bool>();
    network = make_network(spec, 0);
    set_golden_weights(*network);
    x = golden_input(batch, size);
    labels = golden_labels(batch, classes);
  }

  void to_double() {
    make_double(*network);
    x = x.to(DType::f64);
  }

  void check_forward(double tolerance) {
    const NoGrad guard;
    ForwardContext context;
    Tensor auxiliary;
    if (expected["auxiliary"].get<bool>()) context.auxiliary = &auxiliary;
    CHECK(relative_distance(network->forward(x, context), expected["logits"]) <= tolerance);
    if (context.auxiliary) CHECK(relative_distance(auxiliary, expected["auxiliary_logits"]) <= tolerance);
  }

  void check_gradients(double loss_tolerance, double gradient_tolerance) {
    const auto& train = expected["train"];
    ForwardContext context;
    context.training = true;
    context.dropout = 0;
    Tensor auxiliary;
    if (expected["auxiliary"].get<bool>()) context.auxiliary = &auxiliary;
    Tape tape;
    Targets targets;
    targets.labels = labels;
    Tensor loss = cross_entropy(network->forward(x, context), targets);
    if (auxiliary) loss = add(loss, scale(cross_entropy(auxiliary, targets), 0.4));
    tape.backward(loss);
    CHECK(relative_distance(loss, {train["loss"].get<double>()}) <= loss_tolerance);
    CHECK(gradient_distance(*network, train["gradients"]) <= gradient_tolerance);
  }

  double float32_distance() const { return std::max(kKink, expected["train"]["float32_distance"].get<double>()); }

  nlohmann::json expected;
  std::unique_ptr<Network> network;
  Tensor x, labels;
};

void check_case(const char* name, bool in_double) {
  CAPTURE(name);
  Golden golden(name);
  golden.check_forward(kForward);
  const bool train = golden.expected.contains("train");
  if (train) golden.check_gradients(kForward, 3 * golden.float32_distance());
  if (!in_double) return;
  Golden exact(name);
  exact.to_double();
  exact.check_forward(kDouble);
  if (train) exact.check_gradients(kDouble, kDouble);
}

}  // namespace

TEST_CASE("CIFAR ResNets compute what PyTorch computes") {
  check_case("resnet20_32", true);
  check_case("resnet20_a_32", true);
  check_case("resnet20_a_29", false);
  check_case("resnet8x4_32", false);
}

TEST_CASE("CIFAR VGGs compute what PyTorch computes") {
  check_case("vgg8_32", false);
  check_case("vgg8_64", false);
  check_case("vgg13_cifar_32", false);
}

TEST_CASE("perceptrons compute what PyTorch computes") { check_case("mlp_9", true); }

TEST_CASE("ResNets compute what torchvision's do") {
  check_case("resnet18_64", false);
  if (!kSanitized) check_case("resnet50_65", false);
}

TEST_CASE("VGGs compute what torchvision's do") {
  if (kSanitized) return;  // 0.5 GB of weights
  check_case("vgg11_bn_100", false);
  Golden smallest("vgg11_32");
  smallest.check_forward(kForward);
  CHECK(smallest.network->min_image_size() == 32);
  ForwardContext context;
  CHECK(error_message([&] { smallest.network->forward(golden_input(1, 31), context); }) ==
        "vgg: images of 31 x 31 px are too small: use 32 px or more");
}

TEST_CASE("InceptionV3 computes what torchvision's does") {
  check_case("inception_v3_75", false);
  if (!kSanitized) check_case("inception_v3_107", false);
}

TEST_CASE("InceptionV3's auxiliary head computes what torchvision's does") {
  if (!kSanitized) check_case("inception_v3_aux_299", false);
}
