#include "models/registry.h"

#include <charconv>
#include <functional>
#include <optional>

#include "engine/core/check.h"
#include "engine/core/nearest.h"
#include "models/cifar_resnet.h"
#include "models/graph/network.h"
#include "models/head.h"
#include "models/inception_v3.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "models/vgg.h"

namespace retort {
namespace {

/// The family of an architecture as far as its default input goes.
enum class Input : std::uint8_t { imagenet, inception, cifar };

struct Architecture {
  std::string name;
  Input input;
  std::function<std::unique_ptr<Network>(std::int64_t channels, std::int64_t classes, bool auxiliary, Random&)> make;
};

std::vector<Architecture> list_architectures() {
  std::vector<Architecture> all;
  for (const int depth : {11, 13, 16, 19})
    for (const bool bn : {false, true})
      all.push_back({text("vgg", depth, bn ? "_bn" : ""), Input::imagenet,
                     [=](std::int64_t channels, std::int64_t classes, bool, Random& random) {
                       return std::make_unique<Vgg>(depth, bn, channels, classes, random);
                     }});
  for (const int depth : {18, 34, 50, 101, 152})
    all.push_back({text("resnet", depth), Input::imagenet,
                   [=](std::int64_t channels, std::int64_t classes, bool, Random& random) {
                     return make_resnet(depth, channels, classes, random);
                   }});
  const auto add_cifar_resnet = [&](const std::string& name, int depth, const std::array<std::int64_t, 4>& widths,
                                    Shortcut shortcut) {
    all.push_back({name, Input::cifar, [=](std::int64_t channels, std::int64_t classes, bool, Random& random) {
                     return std::make_unique<CifarResNet>(depth, widths, shortcut, channels, classes, random);
                   }});
  };
  for (const int depth : {8, 14, 20, 32, 44, 56, 110}) {
    add_cifar_resnet(text("resnet", depth), depth, {16, 16, 32, 64}, Shortcut::convolution);
    add_cifar_resnet(text("resnet", depth, "_a"), depth, {16, 16, 32, 64}, Shortcut::parameter_free);
  }
  for (const int depth : {8, 32})
    add_cifar_resnet(text("resnet", depth, "x4"), depth, {32, 64, 128, 256}, Shortcut::convolution);
  for (const int depth : {8, 13})
    all.push_back({depth == 8 ? "vgg8" : "vgg13_cifar", Input::cifar,
                   [=](std::int64_t channels, std::int64_t classes, bool, Random& random) {
                     return std::make_unique<CifarVgg>(depth, channels, classes, random);
                   }});
  all.push_back({"inception_v3", Input::inception,
                 [](std::int64_t channels, std::int64_t classes, bool auxiliary, Random& random) {
                   return std::make_unique<InceptionV3>(channels, classes, auxiliary, random);
                 }});
  return all;
}

const std::vector<Architecture>& all_architectures() {
  static const std::vector<Architecture> all = list_architectures();
  return all;
}

/// Null for an unknown name, and for an mlp.
const Architecture* find_architecture(const std::string& name) {
  for (const Architecture& architecture : all_architectures())
    if (architecture.name == name) return &architecture;
  return nullptr;
}

/// The hidden widths of "mlp:800x800", none for "mlp:"; nothing for a name that is no such list.
std::optional<std::vector<std::int64_t>> parse_mlp(const std::string& name) {
  constexpr std::string_view kPrefix = "mlp:";
  constexpr std::int64_t kWidest = 1 << 20;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::vector<std::int64_t> widths;
  const char* at = name.data() + kPrefix.size();
  const char* const end = name.data() + name.size();
  while (at != end) {
    std::int64_t width = 0;
    const auto [next, error] = std::from_chars(at, end, width);
    if (error != std::errc() || width < 1 || width > kWidest) return std::nullopt;
    widths.push_back(width);
    if (next == end) break;
    if (*next != 'x' || next + 1 == end) return std::nullopt;
    at = next + 1;
  }
  return widths;
}

[[noreturn]] void throw_unknown(const std::string& name) { throw UsageError(no_architecture(name)); }

/// ImageNet's statistics; for other than three channels their average over the colours.
void set_imagenet_statistics(Preprocessing& preprocessing) {
  preprocessing.mean = {0.485, 0.456, 0.406};
  preprocessing.std = {0.229, 0.224, 0.225};
  if (preprocessing.channels == 3) return;
  preprocessing.mean.assign(static_cast<std::size_t>(preprocessing.channels), 0.449);
  preprocessing.std.assign(static_cast<std::size_t>(preprocessing.channels), 0.226);
}

}  // namespace

double least_parameters(const ModelSpec& spec) {
  const auto classes = static_cast<double>(spec.classes.size());
  const auto widths = parse_mlp(spec.architecture);
  if (!widths) {
    constexpr double kVgg = 128e6, kLeastFeatures = 64;  // of a head
    return (spec.architecture.starts_with("vgg1") && find_architecture(spec.architecture)->input == Input::imagenet
                ? kVgg
                : 0) +
           kLeastFeatures * classes;
  }
  double features = static_cast<double>(spec.preprocessing.image_size) *
                    static_cast<double>(spec.preprocessing.image_size) *
                    static_cast<double>(spec.preprocessing.channels);
  double count = 0;
  for (const std::int64_t width : *widths) {
    count += (features + 1) * static_cast<double>(width);
    features = static_cast<double>(width);
  }
  return count + (features + 1) * classes;
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& architecture : all_architectures()) names.push_back(architecture.name);
  return names;
}

std::string no_architecture(const std::string& name) {
  if (name.starts_with("mlp"))
    return text("'", name,
                "' is no architecture: the hidden widths of an mlp are whole numbers joined by x: use mlp:800x800, or "
                "mlp: for one linear map");
  const std::string near = did_you_mean(name, architecture_names());
  return text("'", name, "' is no architecture", near.empty() ? "." : near,
              " There are vgg11|13|16|19[_bn], resnet18|34|50|101|152, resnet8|14|20|32|44|56|110[_a], resnet8x4|32x4, "
              "vgg8, vgg13_cifar, inception_v3 and mlp:800x800");
}

bool is_architecture(const std::string& name) { return find_architecture(name) || parse_mlp(name); }

Preprocessing default_preprocessing(const std::string& name, std::int64_t native_size, std::int64_t native_channels) {
  Preprocessing preprocessing;
  if (name == kGraph) {
    set_imagenet_statistics(preprocessing);
    return preprocessing;
  }
  if (const Architecture* architecture = find_architecture(name)) {
    preprocessing.channels = 3;
    set_imagenet_statistics(preprocessing);
    switch (architecture->input) {
      case Input::imagenet: preprocessing.image_size = 224; break;
      case Input::inception:
        preprocessing.image_size = 299;
        preprocessing.mean = preprocessing.std = {0.5, 0.5, 0.5};
        break;
      case Input::cifar: preprocessing.image_size = native_size > 0 ? native_size : 32; break;
    }
    return preprocessing;
  }
  if (!parse_mlp(name)) throw_unknown(name);
  preprocessing.image_size = native_size;
  preprocessing.channels = native_channels;
  set_imagenet_statistics(preprocessing);
  return preprocessing;
}

namespace {

std::unique_ptr<Network> make(const ModelSpec& spec, std::optional<std::uint64_t> seed);

/// The network of a spec whose last layer has the head's first width, and the head behind it.
std::unique_ptr<Network> make_headed(const ModelSpec& spec, std::optional<std::uint64_t> seed) {
  const std::vector<HeadLayer> layers = parse_head(spec.head);
  if (spec.auxiliary) throw UsageError("--head: does not go with --aux, whose classes it lacks; leave one of them out");
  check(!spec.classes.empty(), spec.architecture, ": a network needs one class or more: name the classes");
  ModelSpec body = spec;
  body.head.clear();
  body.classes.assign(static_cast<std::size_t>(layers[0].width), "");
  Random random = seed ? Random::of(*seed, "head") : Random::unused();
  return std::make_unique<HeadedNetwork>(make(body, seed), layers, static_cast<std::int64_t>(spec.classes.size()),
                                         random);
}

/// Without a seed nothing is drawn.
std::unique_ptr<Network> make(const ModelSpec& spec, std::optional<std::uint64_t> seed) {
  if (!spec.head.empty()) return make_headed(spec, seed);
  const std::string& name = spec.architecture;
  const auto classes = static_cast<std::int64_t>(spec.classes.size());
  const std::int64_t size = spec.preprocessing.image_size, channels = spec.preprocessing.channels;
  const Architecture* architecture = find_architecture(name);
  const auto widths = parse_mlp(name);
  if (!architecture && !widths && name != kGraph) throw_unknown(name);
  if (spec.auxiliary && name != "inception_v3")
    throw UsageError(text(name, ": only inception_v3 has an auxiliary head: leave it out"));
  check(classes > 0, name, ": a network needs one class or more: name the classes");
  check(size > 0, name, ": the images have no size of their own: give --image-size");

  Random random = seed ? Random::of(*seed, "weights") : Random::unused();
  if (name == kGraph) {
    GraphSpec graph = graph_from_json(spec.graph, name);
    set_classes(graph, classes);
    return std::make_unique<GraphNetwork>(std::move(graph), random);
  }
  if (widths) return std::make_unique<Mlp>(Shape{size, size, channels}, *widths, classes, random);
  auto network = architecture->make(channels, classes, spec.auxiliary, random);
  if (size < network->min_image_size())
    throw UsageError(text(name, ": images of ", size, " x ", size, " px are too small: use ", network->min_image_size(),
                          " px or more (--image-size)"));
  return network;
}

}  // namespace

std::unique_ptr<Network> make_network(const ModelSpec& spec, std::uint64_t seed) { return make(spec, seed); }

std::unique_ptr<Network> make_empty_network(const ModelSpec& spec) { return make(spec, std::nullopt); }

}  // namespace retort
