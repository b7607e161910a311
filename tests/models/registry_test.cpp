#include "models/registry.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/core/tape.h"
#include "tests/error_message.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Of names, shapes in files, and their order; as in make_golden.py.
std::string digest(Network& network) {
  std::string lines;
  for (const Parameter* parameter : parameters(network))
    lines += parameter->name + " " + to_string(file_shape(*parameter)) + "\n";
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(fnv1a(lines)));
  return hex;
}

std::int64_t count_parameters(Network& network) {
  std::int64_t count = 0;
  for (const Parameter* parameter : parameters(network))
    if (!parameter->buffer) count += parameter->value.count();
  return count;
}

/// Against state_dicts.json; the golden name of InceptionV3 with its auxiliary head ends in _aux.
void check_state_dict(const std::string& golden_name) {
  CAPTURE(golden_name);
  const bool auxiliary = golden_name.ends_with("_aux");
  ModelSpec spec = spec_of(auxiliary ? golden_name.substr(0, golden_name.size() - 4) : golden_name, 1000, 299);
  spec.auxiliary = auxiliary;
  const auto network = make_network(spec, 0);
  const nlohmann::json expected = read_golden("state_dicts")[golden_name];
  CHECK(digest(*network) == expected["digest"].get<std::string>());
  CHECK(count_parameters(*network) == expected["parameters"].get<std::int64_t>());
}

std::int64_t parameters_of(const std::string& architecture, std::int64_t classes, std::int64_t image_size = 299) {
  return count_parameters(*make_network(spec_of(architecture, classes, image_size), 0));
}

Tensor run(Network& network, const Shape& shape, Tensor* auxiliary = nullptr) {
  const NoGrad guard;
  ForwardContext context;
  context.auxiliary = auxiliary;
  return network.forward(Tensor::zeros(shape), context);
}

/// A square image of the smallest size goes through, one pixel less on either side is refused.
void check_smallest(const std::string& architecture, std::int64_t smallest) {
  CAPTURE(architecture);
  const auto network = make_network(spec_of(architecture, 5, smallest), 0);
  CHECK(network->min_image_size() == smallest);
  CHECK(run(*network, {1, smallest, smallest, 3}).shape() == Shape{1, 5});
  CHECK(run(*network, {2, smallest, smallest + 40, 3}).shape() == Shape{2, 5});
  if (smallest == 1) return;
  const std::string less = text(smallest, " x ", smallest - 1, " px are too small: use ", smallest, " px or more");
  CHECK(error_message([&] { run(*network, {1, smallest, smallest - 1, 3}); }).ends_with(less));
  const std::string spec_less = text(architecture, ": images of ", smallest - 1, " x ", smallest - 1,
                                     " px are too small: use ", smallest, " px or more (--image-size)");
  CHECK(error_message([&] { make_network(spec_of(architecture, 5, smallest - 1), 0); }) == spec_less);
}

}  // namespace

TEST_CASE("architectures are known by name") {
  for (const char* name :
       {"vgg11",      "vgg13",      "vgg16",       "vgg19",        "vgg11_bn",   "vgg13_bn",    "vgg16_bn",
        "vgg19_bn",   "resnet18",   "resnet34",    "resnet50",     "resnet101",  "resnet152",   "resnet8",
        "resnet14",   "resnet20",   "resnet32",    "resnet44",     "resnet56",   "resnet110",   "resnet8_a",
        "resnet14_a", "resnet20_a", "resnet32_a",  "resnet44_a",   "resnet56_a", "resnet110_a", "resnet8x4",
        "resnet32x4", "vgg8",       "vgg13_cifar", "inception_v3", "mlp:",       "mlp:800x800", "mlp:30"})
    CHECK_MESSAGE(is_architecture(name), name);
  for (const char* name : {"", "vgg12", "VGG16", "resnet18_a", "resnet", "mlp", "mlp:x", "mlp:8x", "mlp:8xx8", "mlp:0",
                           "mlp:-3", "mlp:8 ", "mlp:99999999999999999999", "model.safetensors"})
    CHECK_MESSAGE(!is_architecture(name), name);
}

TEST_CASE("an unknown architecture is answered with the known ones") {
  const auto message = [](const char* name) { return error_message([=] { default_preprocessing(name, 32, 3); }); };
  CHECK(message("resnet51")
            .starts_with(
                "'resnet51' is no architecture; did you mean resnet50? There are vgg11|13|16|19[_bn], resnet18|"));
  CHECK(message("transformer").starts_with("'transformer' is no architecture. There are vgg11"));
  CHECK(message("mlp:8x") ==
        "'mlp:8x' is no architecture: the hidden widths of an mlp are whole numbers joined by x: use mlp:800x800, or "
        "mlp: "
        "for one linear map");
  ModelSpec spec = spec_of("resnet20", 2, 32);
  spec.architecture = "resnet21";
  CHECK_THROWS_AS(make_network(spec, 0), UsageError);
  spec.architecture = "resnet20";
  spec.auxiliary = true;
  CHECK_THROWS_AS(make_network(spec, 0), UsageError);
}

TEST_CASE("each network says what input it wants") {
  CHECK(default_preprocessing("inception_v3", 0, 3) == Preprocessing{299, 3, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}});
  const std::vector<double> mean = {0.485, 0.456, 0.406}, std = {0.229, 0.224, 0.225};
  CHECK(default_preprocessing("vgg16", 28, 1) == Preprocessing{224, 3, mean, std});
  CHECK(default_preprocessing("resnet50", 0, 3) == Preprocessing{224, 3, mean, std});
  CHECK(default_preprocessing("resnet56_a", 0, 3) == Preprocessing{32, 3, mean, std});
  CHECK(default_preprocessing("vgg8", 28, 1) == Preprocessing{28, 3, mean, std});
  CHECK(default_preprocessing("mlp:800x800", 28, 1) == Preprocessing{28, 1, {0.449}, {0.226}});
  CHECK(default_preprocessing("mlp:", 32, 3) == Preprocessing{32, 3, mean, std});
  CHECK(error_message([] { make_network(spec_of("mlp:8", 2, 0), 0); }) ==
        "mlp:8: the images have no size of their own: give --image-size");
  CHECK(error_message([] { make_network(spec_of("mlp:8", 0, 4), 0); }) ==
        "mlp:8: a network needs one class or more: name the classes");
}

TEST_CASE("state dicts are torchvision's: names, shapes, order, number of parameters") {
  for (const char* name :
       {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "inception_v3", "inception_v3_aux"})
    check_state_dict(name);
  if (kSanitized) return;  // a VGG has 0.5 GB of weights
  for (const char* name : {"vgg16", "vgg16_bn"}) check_state_dict(name);
}

TEST_CASE("published numbers of parameters") {
  // At 1000 classes the networks themselves are held against this file, above.
  const nlohmann::json state_dicts = read_golden("state_dicts");
  CHECK(state_dicts["vgg16"]["parameters"] == 138'357'544);
  CHECK(state_dicts["vgg16_bn"]["parameters"] == 138'365'992);
  CHECK(state_dicts["resnet18"]["parameters"] == 11'689'512);
  CHECK(state_dicts["resnet50"]["parameters"] == 25'557'032);
  CHECK(state_dicts["inception_v3"]["parameters"] == 23'834'568);
  CHECK(state_dicts["inception_v3_aux"]["parameters"] == 27'161'264);
  CHECK(parameters_of("inception_v3", 2) == 21'789'666);
  CHECK(parameters_of("resnet20_a", 10) == 269'722);
  CHECK(parameters_of("resnet56", 100) == 861'620);
  CHECK(parameters_of("resnet8x4", 100) == 1'233'540);
  CHECK(parameters_of("resnet32x4", 100) == 7'433'860);
  CHECK(parameters_of("vgg8", 100) == 3'965'028);
  CHECK(parameters_of("vgg13_cifar", 100) == 9'462'180);
  CHECK(parameters_of("mlp:800x800", 10, 28) == (3 * 784 + 1) * 800 + 801 * 800 + 801 * 10);
}

TEST_CASE("any image that fits goes through") {
  check_smallest("resnet18", 1);
  check_smallest("resnet20", 1);
  check_smallest("resnet20_a", 1);
  check_smallest("vgg8", 8);
  check_smallest("inception_v3", 75);
}

TEST_CASE("an mlp takes one size of image") {
  const auto network = make_network(spec_of("mlp:8", 5, 6, 1), 0);
  CHECK(network->min_image_size() == 6);
  CHECK(run(*network, {2, 6, 6, 1}).shape() == Shape{2, 5});
  CHECK(error_message([&] {
          run(*network, {2, 7, 7, 1});
        }) == "mlp: expected images [n, 6, 6, 1], found [2, 7, 7, 1]: a perceptron takes one size only");
}

TEST_CASE("InceptionV3's auxiliary head needs 299 px") {
  ModelSpec spec = spec_of("inception_v3", 5, 299);
  spec.auxiliary = true;
  const auto network = make_network(spec, 0);
  CHECK(network->min_image_size() == 75);
  Tensor auxiliary;
  CHECK(error_message([&] {
          run(*network, {1, 298, 298, 3}, &auxiliary);
        }) == "inception_v3 with its auxiliary head: images of 298 x 298 px are too small: use 299 px or more");
  CHECK(run(*network, {1, 75, 75, 3}).shape() == Shape{1, 5});
  CHECK(run(*network, {1, 299, 299, 3}, &auxiliary).shape() == Shape{1, 5});
  CHECK(auxiliary.shape() == Shape{1, 5});
}

TEST_CASE("fresh weights depend on the seed alone") {
  const ModelSpec spec = spec_of("resnet20", 5, 32);
  const auto first = make_network(spec, 1), again = make_network(spec, 1), other = make_network(spec, 2);
  const auto a = parameters(*first), b = parameters(*again), c = parameters(*other);
  int different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::size_t bytes = a[i]->value.bytes();
    CHECK(std::memcmp(a[i]->value.raw(), b[i]->value.raw(), bytes) == 0);
    different += std::memcmp(a[i]->value.raw(), c[i]->value.raw(), bytes) != 0;
  }
  CHECK(different >= 19 + 2 + 2);  // the convolutions, two of them in shortcuts, and the head's weight and bias
}

TEST_CASE("an empty network has the parameters of a fresh one, and nothing is drawn for it") {
  for (const char* name : {"resnet20", "mlp:7x5", "vgg11"}) {
    const ModelSpec spec = spec_of(name, 5, 32);
    const auto empty = make_empty_network(spec), fresh = make_network(spec, 1);
    const auto a = parameters(*empty), b = parameters(*fresh);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i]->name == b[i]->name);
      CHECK(a[i]->value.shape() == b[i]->value.shape());
      if (a[i]->value.shape().rank() < 2) continue;
      const auto* values = a[i]->value.data<float>();
      CHECK(std::all_of(values, values + a[i]->value.count(), [](float value) { return value == 0; }));
    }
  }
}

TEST_CASE("hidden layers of an mlp drop out when asked to, in training alone") {
  const auto network = make_network(spec_of("mlp:64", 5, 4), 0);
  const NoGrad guard;
  const Tensor x = golden_input(2, 4);
  const auto logits = [&](bool training, std::optional<double> dropout) {
    ForwardContext context;
    context.training = training;
    context.dropout = dropout;
    const Tensor y = network->forward(x, context);
    return std::vector<float>(y.span<float>().begin(), y.span<float>().end());
  };
  CHECK(logits(true, std::nullopt) == logits(false, std::nullopt));
  CHECK(logits(false, 0.5) == logits(false, std::nullopt));
  CHECK(logits(true, 0.5) != logits(false, std::nullopt));
}
