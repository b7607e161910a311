// Keras's files as networks: what a small one computes in every form, the built-in ones, and what is refused.
#include "models/graph/keras.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "models/registry.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/mutations.h"

using namespace retort;
using namespace retort::test;

namespace {

using Json = nlohmann::json;

/// Builds without libhdf5 read none of these files.
bool reads_hdf5() {
  static const bool reads =
      error_message([] { read_hdf5({}, "x"); }).find("which this build does not read") == std::string::npos;
  if (!reads) MESSAGE("skipped: this build reads no HDF5");
  return reads;
}

std::string golden(const std::string& name) {
  return (std::filesystem::path(__FILE__).parent_path() / "../golden/keras" / name).string();
}

std::string content(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

/// make_keras.py's pixels, as the network that its first layer makes of 0..255 takes them.
Tensor pixels() {
  Tensor x = Tensor::empty({2, 13, 13, 3});
  for (std::int64_t i = 0; i < x.count(); ++i)
    x.data<float>()[i] = static_cast<float>(static_cast<double>(i * 37 % 256) / 127.5 - 1);
  return x;
}

// ---- Models without a file.

Json tensor(const std::string& from) {
  return {{"class_name", "__keras_tensor__"}, {"config", {{"keras_history", {from, 0, 0}}}}};
}
Json layer(const std::string& kind, const std::string& name, const std::vector<std::string>& inputs,
           Json config = Json::object()) {
  config["name"] = name;
  Json arguments = Json::array();
  for (const std::string& input : inputs) arguments.push_back(tensor(input));
  return {{"class_name", kind},
          {"name", name},
          {"config", config},
          {"inbound_nodes",
           inputs.empty() ? Json::array() : Json::array({{{"args", {arguments}}, {"kwargs", Json::object()}}})}};
}
const Json kInput = layer("InputLayer", "image", {}, {{"batch_shape", {nullptr, 4, 4, 3}}});
const Json kDense = layer("Dense", "classes", {"pool"}, {{"units", 2}});
const Json kPool = layer("GlobalAveragePooling2D", "pool", {"image"});

std::string functional(const std::vector<Json>& layers, const Json& output = {"classes", 0, 0}) {
  return Json{
      {"class_name", "Functional"},
      {"config", {{"name", "net"}, {"layers", layers}, {"input_layers", {"image", 0, 0}}, {"output_layers", output}}}}
      .dump();
}

std::string refusal(const std::string& json) {
  std::string message =
      error_message([&] { check_keras_model(read_keras_config(json, "", "net.keras"), "net.keras"); });
  CHECK(message.starts_with("net.keras: "));
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

Hdf5File dense_weights(std::int64_t in = 3, std::int64_t out = 2) {
  Hdf5File file;
  std::vector<float> matrix(static_cast<std::size_t>(in * out));
  for (std::size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<float>(i);
  file.datasets["layers/dense/vars/0"] = {{in, out}, matrix};
  file.datasets["layers/dense/vars/1"] = {{out}, std::vector<float>(static_cast<std::size_t>(out), 0.5f)};
  return file;
}

}  // namespace

TEST_CASE("keras: a network computes what Keras computes, in all three forms") {
  if (!reads_hdf5()) return;
  const auto expected = Json::parse(content(golden("logits.json"))).get<std::vector<double>>();
  for (const char* name : {"net.keras", "net.h5", "weights/net.weights.h5"}) {
    CAPTURE(name);
    const Model model = load_model(golden(name));
    CHECK(model.spec.preprocessing.image_size == 13);
    CHECK(std::abs(model.spec.preprocessing.mean[0] - 0.5) < 1e-12);
    CHECK(std::abs(model.spec.preprocessing.std[2] - 0.5) < 1e-12);
    const Tensor logits = infer(*model.network, pixels());
    REQUIRE(logits.count() == static_cast<std::int64_t>(expected.size()));
    // Float32 sums of some hundred products a layer, a dozen layers: 1e-6 of the largest, as between backends.
    for (std::int64_t i = 0; i < logits.count(); ++i)
      CHECK(std::abs(logits.data<float>()[i] - expected[static_cast<std::size_t>(i)]) < 1e-6);
  }
}

TEST_CASE("keras: a model file of it gives the same bits, and its softmax and its augmentation are said") {
  if (!reads_hdf5()) return;
  const Scratch scratch;
  Model model = load_model(golden("net.keras"));
  std::string said;
  for (const std::string& line : model.said) said += line + "\n";
  CHECK(said.find("its last op, softmax, is left out") != said.npos);
  CHECK(said.find("(RandomFlip) is left out: it does nothing after training") != said.npos);
  save_model(scratch / "net.safetensors", *model.network, model.spec);
  const Model again = load_model(scratch / "net.safetensors");
  const Tensor a = infer(*model.network, pixels()), b = infer(*again.network, pixels());
  for (std::int64_t i = 0; i < a.count(); ++i) CHECK(a.data<float>()[i] == b.data<float>()[i]);
}

TEST_CASE("keras: damaged files are read or refused in one line, whatever libhdf5 does with them") {
  if (!reads_hdf5()) return;
  const Scratch scratch;
  int refused = 0;
  for (const char* name : {"net.h5", "net.keras"}) {
    const std::string whole = content(golden("../../fuzz/corpus/keras/" + std::string(name)));
    // The headers come first and the weights last: most changes go where they matter.
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
      CAPTURE(seed);
      const std::string path = scratch.write(name, mutated(whole, seed));
      const std::string message = error_message([&] { load_model(path); });
      if (message == "(nothing thrown)") continue;
      ++refused;
      CHECK(message.find('\n') == std::string::npos);
      CHECK(message.find(name) != std::string::npos);
    }
  }
  CHECK(refused > 50);
}

TEST_CASE("keras: the built-in networks want exactly what Keras saves of them") {
  const Json saved = Json::parse(content(golden("applications.json")));
  REQUIRE(saved.size() == keras_networks().size());
  for (const auto& network : saved.items()) {
    const std::string& name = network.key();
    CAPTURE(name);
    Hdf5File file;
    for (const auto& [path, dims] : network.value().items()) {
      auto& dataset = file.datasets[path];
      dataset.dims = dims.get<std::vector<std::int64_t>>();
      std::size_t count = 1;
      for (const std::int64_t dim : dataset.dims) count *= static_cast<std::size_t>(dim);
      dataset.values.assign(count, 0.0f);
    }
    CHECK(error_message([&] { import_keras(keras_network(kKerasPrefix + name, file), file, "x"); }) ==
          "(nothing thrown)");
  }
  CHECK(error_message([] { keras_network("keras:Res", {}); }).find("no network of Keras's that is built in") !=
        std::string::npos);
}

TEST_CASE("keras: layers are numbered by distance from the output, and then as a walk back meets them") {
  // 1 -> 2 -> 3 and 1 -> 4, joined by 5(3, 4): 4 lies as far from the end as 3, and comes after it.
  CHECK(keras_order({{0}, {1}, {2}, {1}, {3, 4}}) == std::vector<std::size_t>{0, 1, 2, 3, 4});
  CHECK(keras_order({{0}, {1}, {2}, {1}, {4, 3}}) == std::vector<std::size_t>{0, 1, 3, 2, 4});
}

TEST_CASE("keras: configurations of Keras 2, and one probability as two classes") {
  const Json dense = layer("Dense", "classes", {"pool"}, {{"units", 1}, {"activation", "sigmoid"}});
  Json old = Json::parse(functional({kInput, kPool, dense}, Json::array({{"classes", 0, 0}})));
  for (Json& each : old["config"]["layers"])
    if (each["name"] != "image")
      each["inbound_nodes"] = {{{each["name"] == "pool" ? "image" : "pool", 0, 0, Json::object()}}};
  const KerasModel model = read_keras_config(old.dump(), "2.11.0", "net.h5");
  CHECK(model.before_keras_3);
  Hdf5File file;
  file.datasets["model_weights/classes/classes/kernel:0"] = {{3, 1}, {1, 2, 3}};
  file.datasets["model_weights/classes/classes/bias:0"] = {{1}, {4}};
  const Checkpoint read = import_keras(model, file, "net.h5");
  const Tensor* weight = read.file.find("classes.weight");
  REQUIRE(weight);
  CHECK(weight->shape() == Shape{2, 3});
  CHECK(std::vector<float>(weight->data<float>(), weight->data<float>() + 6) == std::vector<float>{0, 0, 0, 1, 2, 3});
  CHECK(read.file.find("classes.bias")->data<float>()[1] == 4);
  CHECK(read.file.metadata.at("mean") == "[0,0,0]");
}

TEST_CASE("keras: what is known of a network by its name is applied to pixels, and said") {
  Json named = Json::parse(functional({kInput, kPool, kDense}));
  named["config"]["name"] = "resnet50";
  const Checkpoint read = import_keras(read_keras_config(named.dump(), "", "x"), dense_weights(), "x");
  CHECK(read.file.metadata.at("graph").find("reverse_channels") != std::string::npos);
  CHECK(Json::parse(read.file.metadata.at("mean"))[0].get<double>() == doctest::Approx(123.68 / 255));
  CHECK(read.said.at(0).find("(Caffe's way)") != std::string::npos);
}

TEST_CASE("keras: weights missing, left over or of another shape are named") {
  const KerasModel model = read_keras_config(functional({kInput, kPool, kDense}), "", "x");
  const auto said = [&](const Hdf5File& file) { return error_message([&] { import_keras(model, file, "x"); }); };
  CHECK(said(dense_weights()) == "(nothing thrown)");
  Hdf5File file = dense_weights();
  file.datasets.erase("layers/dense/vars/1");
  CHECK(said(file).find("x: layer classes (Dense) misses its bias, expected layers/dense/vars/1") == 0);
  file = dense_weights(3, 5);
  CHECK(said(file).find("x: layer classes (Dense) has a kernel of [3, 5], expected [3, 2]") == 0);
  file = dense_weights();
  file.datasets["layers/dense_1/vars/0"] = {{1}, {1}};
  CHECK(said(file).find("x: holds layers/dense_1/vars/0, which its network has not") == 0);
}

TEST_CASE("keras: what is no network of Keras's own layers is refused by name") {
  CHECK(refusal("{").find("its configuration is not JSON") != std::string::npos);
  CHECK(refusal("{}").find("`config`") != std::string::npos);
  CHECK(refusal(functional({kInput, layer("Mine", "pool", {"image"}), kDense}))
            .find("layer pool (Mine): this layer is not known here") != std::string::npos);
  CHECK(refusal(functional({kInput, layer("Activation", "pool", {"image"}, {{"activation", "mish"}}), kDense}))
            .find("layer pool (Activation): its activation mish is not known here") != std::string::npos);
  Json mine = Json::parse(functional({kInput, kPool, kDense}));
  mine["class_name"] = "MyModel";
  CHECK(refusal(mine.dump()).find("is a model of the class MyModel, expected Sequential or Functional") !=
        std::string::npos);
  CHECK(refusal(functional({kInput, kDense, kPool})).find("layer classes needs pool, which no layer before it gives") !=
        std::string::npos);
  Json twice = Json::parse(functional({kInput, kPool, kDense}));
  twice["config"]["layers"][1]["inbound_nodes"].push_back(twice["config"]["layers"][1]["inbound_nodes"][0]);
  CHECK(refusal(twice.dump()).find("layer pool (GlobalAveragePooling2D) is used 2 times") != std::string::npos);
  CHECK(refusal(functional({kInput, kPool, kDense}, {{"a", 0, 0}, {"b", 0, 0}})).find("has not one output") !=
        std::string::npos);
  const auto conv = [](const Json& config) { return layer("Conv2D", "pool", {"image"}, config); };
  CHECK(refusal(functional({kInput, conv({{"filters", std::int64_t{1} << 40}, {"kernel_size", 3}}), kDense}))
            .find("its filters is 1099511627776, expected 1 to") != std::string::npos);
  CHECK(refusal(functional({kInput, conv({{"filters", 2}, {"kernel_size", 9}}), kDense}))
            .find("its window is larger than the map") != std::string::npos);
  CHECK(refusal(functional({kInput, conv({{"filters", 2}, {"data_format", "channels_first"}}), kDense}))
            .find("its channels come first") != std::string::npos);
}
