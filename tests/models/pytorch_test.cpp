// PyTorch's files: a zip with a pickle, and the form before 1.6, written byte by byte; and what damaged ones get.
#include "models/pytorch.h"

#include <doctest/doctest.h>

#include <functional>

#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/mutations.h"

using namespace retort;
using namespace retort::test;

namespace {

// ---- A pickle's instructions, protocol 2.

std::string word(const std::string& text) { return "X" + raw(static_cast<std::uint32_t>(text.size())) + text; }
std::string integer(std::int32_t value) { return "J" + raw(value); }
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string integers(const std::vector<std::int32_t>& values) {
  std::vector<std::string> items;
  for (const std::int32_t value : values) items.push_back(integer(value));
  return tuple(items);
}
const std::string kDict = "ccollections\nOrderedDict\n)R";

struct Stored {
  std::string type = "FloatStorage", key = "0";
  int elements = 6, offset = 0;
  std::vector<std::int32_t> size = {2, 3}, stride = {3, 1};
};
std::string tensor(const Stored& t) {
  const std::string storage =
      tuple({word("storage"), "ctorch\n" + t.type + "\n", word(t.key), word("cpu"), integer(t.elements)}) + "Q";
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({storage, integer(t.offset), integers(t.size), integers(t.stride), "\x89", kDict}) + "R";
}
std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string all = kDict + "(";
  for (const auto& [key, value] : entries) all += word(key) + value;
  return all + "u";
}
std::string pickle(const std::string& object) { return "\x80\x02" + object + "."; }

// ---- A zip whose members are stored as they are.

struct Member {
  std::string name, content;
  std::int32_t moved = 0;  ///< the directory says that it lies so many bytes further on
};
std::string zip(const std::vector<Member>& members) {
  std::string file, directory;
  const auto u16 = [](std::size_t value) { return raw(static_cast<std::uint16_t>(value)); };
  const auto u32 = [](std::size_t value) { return raw(static_cast<std::uint32_t>(value)); };
  for (const Member& member : members) {
    const std::size_t at = file.size(), bytes = member.content.size();
    const std::string common = u16(0) + u16(0) + u16(0) + u16(0) + u32(0) + u32(bytes) + u32(bytes);
    file += "PK\x03\x04" + u16(20) + common + u16(member.name.size()) + u16(0) + member.name + member.content;
    directory += "PK\x01\x02" + u16(20) + u16(20) + common + u16(member.name.size()) + u16(0) + u16(0) + u16(0) +
                 u16(0) + u32(0) + u32(at + static_cast<std::size_t>(member.moved)) + member.name;
  }
  const std::size_t start = file.size();
  return file + directory + "PK\x05\x06" + u16(0) + u16(0) + u16(members.size()) + u16(members.size()) +
         u32(directory.size()) + u32(start) + u16(0);
}

std::string floats(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += raw(static_cast<float>(i));
  return bytes;
}

/// A file of torch.save with one storage of six floats.
std::string saved(const std::string& object) {
  return zip({{"archive/data.pkl", pickle(object)}, {"archive/data/0", floats(6)}});
}

std::string refusal(const Scratch& scratch, const std::string& content, const std::string& state = "") {
  const std::string path = scratch.write("net.pth", content);
  std::string message = error_message([&] { read_checkpoint(path + (state.empty() ? "" : "::" + state)); });
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find("net.pth") != std::string::npos);
  return message;
}

bool says(const std::string& message, const std::string& part) {
  INFO(message);
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("pytorch: tensors by name, strided and shared storage, and the names that wrappers add") {
  const Scratch scratch;
  const std::string path =
      scratch.write("net.onnx", saved(dict({{"module.fc.weight", tensor({})},
                                            {"module.fc.bias", tensor({.offset = 1, .size = {2}, .stride = {3}})},
                                            {"module.t.weight", tensor({.size = {3, 2}, .stride = {1, 3}})}})));
  const TensorFile file = read_checkpoint(path).file;
  REQUIRE(file.tensors.size() == 3);
  const Tensor &weight = *file.find("fc.weight"), &bias = *file.find("fc.bias"), &turned = *file.find("t.weight");
  CHECK(weight.shape() == Shape{2, 3});
  CHECK(weight.data<float>()[4] == 4);
  CHECK(bias.data<float>()[0] == 1);
  CHECK(bias.data<float>()[1] == 4);
  CHECK(turned.shape() == Shape{3, 2});
  CHECK(turned.data<float>()[1] == 3);
}

TEST_CASE("pytorch: the usual state is read, another by name") {
  const Scratch scratch;
  const std::string path = scratch.write(
      "net.pth",
      saved(dict({{"epoch", integer(3)},
                  {"args", "cargparse\nNamespace\n)R"},
                  {"model", dict({{"fc.weight", tensor({})}})},
                  {"model_ema", dict({{"fc.weight", tensor({.offset = 1, .size = {2}, .stride = {1}})}})}})));
  const Checkpoint usual = read_checkpoint(path), ema = read_checkpoint(path + "::model_ema");
  CHECK(usual.file.find("fc.weight")->shape() == Shape{2, 3});
  REQUIRE(usual.said.size() == 1);
  CHECK(says(usual.said[0], "holds the states model or model_ema; model is read"));
  CHECK(ema.file.find("fc.weight")->shape() == Shape{2});
  CHECK(
      says(error_message([&] { read_checkpoint(path + "::swa"); }), "has no state `swa`, expected model or model_ema"));
}

TEST_CASE("pytorch: the form before 1.6") {
  const Scratch scratch;
  const std::string magic = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const std::string object = pickle(dict({{"fc.weight", tensor({.size = {2}, .stride = {3}})}}));
  const std::string file =
      magic + pickle(integer(1001)) + pickle("}") + object + pickle("](" + word("0") + "e") + raw(std::int64_t{6});
  const TensorFile read = read_checkpoint(scratch.write("net.pth", file + floats(6))).file;
  CHECK(read.find("fc.weight")->data<float>()[1] == 3);
  CHECK(says(refusal(scratch, file + floats(5)), "is cut short"));
}

TEST_CASE("pytorch: timm's VGG takes torchvision's names") {
  const Scratch scratch;
  const TensorFile file =
      read_checkpoint(
          scratch.write("net.pth",
                        saved(dict({{"pre_logits.fc1.weight", tensor({.size = {2, 3, 1, 1}, .stride = {3, 1, 1, 1}})},
                                    {"head.fc.bias", tensor({.size = {2}, .stride = {1}})}}))))
          .file;
  CHECK(file.find("classifier.0.weight")->shape() == Shape{2, 3});
  CHECK(file.find("classifier.6.bias"));
}

TEST_CASE("pytorch: what is damaged or no state dict is named, and nothing is executed") {
  const Scratch scratch;
  const auto of = [&](const Stored& stored) { return refusal(scratch, saved(dict({{"fc.weight", tensor(stored)}}))); };
  CHECK(says(refusal(scratch, saved("cos\nsystem\n(" + word("touch executed") + "tR")),
             "holds a whole module of the class os.system, expected a state dict"));
  CHECK(says(refusal(scratch, saved("ctorchvision.models.resnet\nResNet\n)\x81}b")),
             "whole module of the class torchvision.models.resnet.ResNet"));
  CHECK(says(of({.offset = 1}), "tensor fc.weight: reaches beyond its storage of 6 elements"));
  CHECK(says(of({.offset = -1}), "reaches beyond its storage"));
  CHECK(says(of({.stride = {3, -1}}), "reaches beyond its storage"));
  CHECK(says(of({.stride = {2000000000, 2000000000}}), "reaches beyond its storage"));
  CHECK(says(of({.size = {2000000000, 2000000000}}), "more elements than its storage"));
  CHECK(says(of({.size = {1000, 1000}, .stride = {0, 0}}), "more elements than its storage"));
  CHECK(says(of({.size = {-2, 3}}), "more elements than its storage"));
  CHECK(says(of({.key = "1"}), "its storage 1 is missing"));
  CHECK(says(of({.elements = 7}), "its storage has 6 elements where 7 are claimed"));
  CHECK(says(of({.size = {1, 1, 1, 1, 1}, .stride = {1, 1, 1, 1, 1}}), "has 5 axes"));
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 5000; ++i) many.emplace_back("w" + std::to_string(i), tensor({}));
  CHECK(read_checkpoint(scratch.write("many.pth", saved(dict(many)))).file.tensors.size() == 5000);

  const std::string data = pickle(dict({{"fc.weight", tensor({})}}));
  CHECK(
      says(refusal(scratch, zip({{"a/data.pkl", data}, {"a/data/0", floats(6), 1 << 20}})), "reaches beyond the file"));
  CHECK(says(refusal(scratch, zip({{"a/data.pkl", data}, {"a/data.pkl", data}})), "two members called a/data.pkl"));
  CHECK(says(refusal(scratch, zip({{"a/other", data}})), "is a zip without a data.pkl"));
  CHECK(says(refusal(scratch, zip({{"a/data.pkl", data}, {"a/constants.pkl", "x"}})), "is a TorchScript program"));
  const std::string whole = saved(dict({{"fc.weight", tensor({})}}));
  for (std::size_t length = 4; length < whole.size(); length += 5) refusal(scratch, whole.substr(0, length));
  CHECK(scratch.list().size() == 2);
}

TEST_CASE("pytorch: thousands of damaged files are read or refused in one line") {
  const Scratch scratch;
  const std::string whole =
      saved(dict({{"module.fc.weight", tensor({})}, {"module.fc.bias", tensor({.size = {2}, .stride = {1}})}}));
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    CAPTURE(seed);
    const std::string path = scratch.write("net.pth", mutated(whole, seed));
    const std::string message = error_message([&] { read_pytorch(path, ""); });
    if (message == "(nothing thrown)") continue;
    ++refused;
    CHECK(message.find("net.pth") != std::string::npos);
    CHECK(message.size() < 600);
  }
  CHECK(refused > 1000);
}
