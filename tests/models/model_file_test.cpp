#include <doctest/doctest.h>

#include <cstring>

#include "engine/core/tape.h"
#include "engine/io/file.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

namespace {

Tensor logits(Network& network, std::int64_t size, std::int64_t channels = 3) {
  const NoGrad guard;
  ForwardContext context;
  return network.forward(nchw_to_nhwc(golden_uniform("x", {2, channels, size, size}, -1, 1)), context);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// A saved network of an architecture, and its file to be changed and written again.
struct SavedModel {
  explicit SavedModel(const std::string& architecture, std::int64_t classes = 3, std::int64_t size = 8)
      : spec(spec_of(architecture, classes, size)), network(make_network(spec, 7)) {
    save_model(path, *network, spec);
    file = read_safetensors(path);
  }

  void write() { write_safetensors(path, file); }
  void erase(std::string_view ending) {
    std::erase_if(file.tensors, [&](const auto& entry) { return entry.first.ends_with(ending); });
  }
  void rename(const std::string& prefix, const std::string& replacement) {
    for (auto& [name, tensor] : file.tensors)
      if (name.starts_with(prefix)) name = replacement + name.substr(prefix.size());
  }
  std::string load_error() {
    write();
    return error_message([&] { load_model(path); });
  }
  /// What loading into a network of another spec says.
  std::string weights_error(const ModelSpec& other, bool replace_head = false) {
    write();
    const auto fresh = make_network(other, 1);
    return error_message([&] { load_weights(*fresh, other, path, replace_head); });
  }

  Scratch folder;
  std::string path = folder / "model.safetensors";
  ModelSpec spec;
  std::unique_ptr<Network> network;
  TensorFile file;
};

}  // namespace

TEST_CASE("a model comes back from its file as it was") {
  Scratch folder;
  const std::string path = folder / "model.safetensors";
  ModelSpec spec = spec_of("mlp:20", 3, 4, 1);
  spec.classes = {"cat", "dog, \"big\"", "Füchse"};
  spec.preprocessing.mean = {1.0 / 3};
  spec.preprocessing.std = {0.1 + 0.2};
  spec.notes = {{"temperature", "4"}, {"teacher", "0123456789abcdef"}};
  const auto network = make_network(spec, 7);
  save_model(path, *network, spec);
  const Model model = load_model(path);
  CHECK(model.spec.architecture == spec.architecture);
  CHECK(model.spec.classes == spec.classes);
  CHECK(model.spec.preprocessing == spec.preprocessing);
  CHECK(model.spec.auxiliary == false);
  CHECK(model.spec.notes == spec.notes);
  CHECK(model.hash() == content_hash(read_file(path)));
  CHECK(same_bits(logits(*model.network, 4, 1), logits(*network, 4, 1)));
  CHECK(folder.list() == std::vector<std::string>{"model.safetensors"});
}

TEST_CASE("a model file has PyTorch's layouts and says how to read it") {
  SavedModel saved("resnet20");
  CHECK(saved.file.metadata.at("format") == "pt");
  CHECK(saved.file.metadata.at("classes") == R"(["0","1","2"])");
  CHECK(saved.file.metadata.at("mean") == "[0.485,0.456,0.406]");
  CHECK(saved.file.find("layer2.0.downsample.0.weight")->shape() == Shape{32, 16, 1, 1});
  CHECK(saved.file.find("bn1.num_batches_tracked")->shape() == Shape{});
  CHECK(saved.file.find("fc.weight")->shape() == Shape{3, 64});
  const Tensor& filter = *saved.file.find("conv1.weight");  // OIHW against RSCK
  const Parameter* own = parameters(*saved.network).front();
  CHECK(filter.data<float>()[((5 * 3 + 2) * 3 + 0) * 3 + 1] ==
        own->value.data<float>()[((0 * 3 + 1) * 3 + 2) * 16 + 5]);
}

TEST_CASE("a file without the count of batches loads") {
  SavedModel saved("resnet20");
  saved.erase(".num_batches_tracked");
  saved.write();
  CHECK(same_bits(logits(*load_model(saved.path).network, 8), logits(*saved.network, 8)));
}

TEST_CASE("a head of another usual name is taken for the head, and said") {
  for (const char* architecture : {"resnet20", "resnet20_a", "vgg8"})
    for (const std::string head : {"fc", "linear", "classifier"}) {
      SavedModel saved(architecture);
      const std::string own = std::string(architecture) == "vgg8"       ? "classifier"
                              : std::string(architecture) == "resnet20" ? "fc"
                                                                        : "linear";
      saved.rename(own + ".", head + ".");
      saved.write();
      const auto network = make_network(saved.spec, 1);
      const LoadReport report = load_weights(*network, saved.spec, saved.path, false);
      CHECK(same_bits(logits(*network, 8), logits(*saved.network, 8)));
      if (head == own)
        CHECK(report.lines.empty());
      else
        CHECK(report.lines ==
              std::vector<std::string>{text(saved.path, ": its head `", head, "` is taken for `", own, "`")});
    }
}

TEST_CASE("a head of another number of classes is replaced if asked for, and said") {
  SavedModel saved("resnet20");
  const ModelSpec five = spec_of("resnet20", 5, 8);
  const auto network = make_network(five, 1), fresh = make_network(five, 1);
  const LoadReport report = load_weights(*network, five, saved.path, true);
  CHECK(report.lines == std::vector<std::string>{text(saved.path,
                                                      ": its head `fc` has 3 classes, not 5: it is replaced and "
                                                      "starts from fresh weights")});
  const auto loaded = parameters(*network), unchanged = parameters(*fresh), from = parameters(*saved.network);
  for (std::size_t i = 0; i < loaded.size(); ++i)
    CHECK(same_bits(loaded[i]->value, (loaded[i]->name.starts_with("fc.") ? unchanged : from)[i]->value));
  const std::string refused = saved.weights_error(five);
  CHECK(refused.starts_with(saved.path + ": tensor fc.weight: found shape [3, 64], expected [5, 64]"));
}

TEST_CASE("a head of classes with other names is replaced if asked for, and said; numbers are no names") {
  SavedModel saved("resnet20");
  ModelSpec others = spec_of("resnet20", 3, 8);
  const auto start = [&](std::vector<std::string> in_file, std::vector<std::string> wanted) {
    saved.spec.classes = std::move(in_file);
    save_model(saved.path, *saved.network, saved.spec);
    others.classes = std::move(wanted);
    const auto network = make_network(others, 1);
    std::vector<std::string> lines = load_weights(*network, others, saved.path, true).lines;
    CHECK(same_bits(head_of(*network).weight->value, head_of(*saved.network).weight->value) == lines.empty());
    return lines;
  };
  CHECK(start({"lion", "tiger", "lynx"}, {"lion", "tiger", "lynx"}).empty());
  CHECK(start({"lion", "tiger", "lynx"}, {"0", "1", "2"}).empty());
  CHECK(start({"0", "1", "2"}, {"bear", "camel", "yak"}).empty());
  CHECK(start({"lion", "tiger", "lynx"}, {"bear", "camel", "yak"}) ==
        std::vector<std::string>{saved.path +
                                 ": its head `fc` gives lion, tiger, lynx, not bear, camel, yak: it is replaced and "
                                 "starts from fresh weights"});
  CHECK(start({"lion", "tiger", "lynx"}, {"tiger", "lion", "lynx"}).size() == 1);
}

TEST_CASE("a weight of another shape is named with what was found and expected") {
  SavedModel saved("mlp:20");
  const std::string message = saved.weights_error(spec_of("mlp:20", 3, 9), true);
  CHECK(message.starts_with(saved.path + ": tensor layers.0.weight: found shape [20, 192], expected [20, 243]"));
}

TEST_CASE("missing and unexpected tensors are named") {
  SavedModel saved("resnet20");
  saved.erase("layer2.1.bn2.running_var");
  CHECK(saved.load_error() ==
        saved.path +
            ": tensor layer2.1.bn2.running_var of resnet20 is missing: give the architecture that it "
            "was saved from");
  saved.file.tensors.emplace_back("extra.weight", Tensor::zeros({2}));
  CHECK(saved.load_error() ==
        saved.path + ": tensor extra.weight is not part of resnet20: give the architecture that it was saved from");
}

TEST_CASE("the wrong kind of shortcut is answered with the right one") {
  SavedModel option_a("resnet20_a");
  option_a.file.metadata.clear();
  CHECK(option_a.weights_error(spec_of("resnet20", 3, 8)) ==
        option_a.path +
            ": tensor layer2.0.downsample.0.weight of resnet20 is missing: its shortcuts have no parameters "
            "(option A): use resnet20_a");
  SavedModel option_b("resnet20");
  option_b.file.metadata.clear();
  CHECK(option_b.weights_error(spec_of("resnet20_a", 3, 8)) ==
        option_b.path +
            ": tensor layer2.0.downsample.0.weight is not part of resnet20_a: its shortcuts are convolutions: "
            "use resnet20");
}

TEST_CASE("a file that says it is another network is refused by name") {
  SavedModel saved("resnet20_a");
  CHECK(saved.weights_error(spec_of("resnet56_a", 3, 8)) ==
        saved.path + ": it holds a resnet20_a, not a resnet56_a: use resnet20_a");
}

TEST_CASE("an auxiliary head is kept, left out or fresh as the file and the network have it") {
  Scratch folder;
  const std::string with = folder / "with.safetensors", without = folder / "without.safetensors";
  ModelSpec plain = spec_of("inception_v3", 3, 75), auxiliary = plain;
  auxiliary.auxiliary = true;
  const auto big = make_network(auxiliary, 7), small = make_network(plain, 7);
  save_model(with, *big, auxiliary);
  const Model model = load_model(with);
  CHECK(model.spec.auxiliary);
  CHECK(same_bits(logits(*model.network, 75), logits(*big, 75)));

  CHECK(load_weights(*small, plain, with, false).lines ==
        std::vector<std::string>{with + ": its auxiliary head is left out"});
  CHECK(same_bits(logits(*small, 75), logits(*big, 75)));
  save_model(without, *small, plain);
  CHECK_FALSE(has_auxiliary_head(read_safetensors(without)));
  CHECK(has_auxiliary_head(read_safetensors(with)));
  CHECK(load_weights(*big, auxiliary, without, false).lines ==
        std::vector<std::string>{without + ": it has no auxiliary head: that starts from fresh weights"});

  ModelSpec five = spec_of("inception_v3", 5, 75);
  five.auxiliary = true;
  CHECK(load_weights(*make_network(five, 1), five, with, true).lines ==
        std::vector<std::string>{
            with + ": its head `AuxLogits.fc` has 3 classes, not 5: it is replaced and starts from fresh weights",
            with + ": its head `fc` has 3 classes, not 5: it is replaced and starts from fresh weights"});
}

TEST_CASE("metadata that is absent or wrong is named") {
  SavedModel saved("mlp:");
  const std::map<std::string, std::string> good = saved.file.metadata;
  const std::string advice =
      ": load it with --model ARCH --weights " + saved.path + ", or make a model file of it with `retort import`";
  saved.file.metadata = {};
  CHECK(saved.load_error() == saved.path + ": its metadata does not say which network it is" + advice);
  const auto with = [&](const std::string& key, const std::string& value) {
    saved.file.metadata = good;
    saved.file.metadata[key] = value;
    return saved.load_error();
  };
  CHECK(with("architecture", "resnet21") ==
        saved.path + ": its metadata names an unknown architecture, `resnet21`: save the model again");
  const auto wrong = [&](const std::string& key, const std::string& value, const std::string& expected) {
    CHECK(with(key, value) == saved.path + ": its metadata has `" + key + "` = " + value.substr(0, 60) + ", expected " +
                                  expected + ": save the model again");
  };
  wrong("classes", "[1, 2]", "a JSON array of names");
  wrong("classes", "[", "a JSON array of names");
  wrong("classes", "[]", "a JSON array of names");
  wrong("classes", std::string(50, '[') + std::string(50, ']'), "a JSON array of names");
  CHECK(with("classes", R"(["a","b","a"])") == saved.path +
                                                   ": its metadata names the class 'a' twice: give each class a "
                                                   "name of its own and save the model again");
  wrong("image_size", "8px", "a whole number from 1 to 32768");
  wrong("image_size", "0", "a whole number from 1 to 32768");
  wrong("channels", "-1", "a whole number from 1 to 1024");
  wrong("mean", "[null, 0, 0]", "a JSON array of numbers");
  wrong("std", "[1, 0, 1]", "a JSON array of positive numbers");
  CHECK(with("mean", "[0.5]") ==
        saved.path + ": its metadata has another number of `mean` or `std` than its 3 channels: save the model again");
  saved.file.metadata = good;
  saved.file.metadata.erase("std");
  CHECK(saved.load_error() == saved.path + ": its metadata has no `std`" + advice);
}

TEST_CASE("a note cannot take the place of what the file says of itself") {
  Scratch folder;
  ModelSpec spec = spec_of("mlp:", 2, 4);
  spec.notes["classes"] = "none";
  const auto network = make_network(spec, 0);
  CHECK(error_message([&] { save_model(folder / "m.safetensors", *network, spec); }) ==
        "model note `classes`: the name is taken: choose another");
  CHECK(folder.list().empty());
}
