#include "models/bundle.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstring>

#include "engine/core/check.h"
#include "models/checkpoint.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

/// As much of a program as a bundle looks at: an ELF header that says where the file ends.
std::string program() {
  std::string bytes(64, '\0');
  bytes.replace(0, 4,
                "\x7f"
                "ELF");
  bytes[40] = 64;  // the section headers' offset, and no section
  return bytes;
}

TensorFile model() {
  ModelSpec spec;
  spec.architecture = "mlp:";
  spec.classes = {"cat", "dog"};
  spec.preprocessing = {.image_size = 1, .channels = 1, .mean = {0.5}, .std = {0.25}};
  return to_file(*make_network(spec, 3), spec);
}

struct Bundle {
  explicit Bundle(WeightType weights = WeightType::f32) {
    folder.write("program", program());
    write_bundle(path, folder / "program", model(), weights);
  }
  Scratch folder;
  std::string path = folder / "bundle";
};

/// What a bundle of these bytes is refused with; its path is replaced by FILE.
std::string refusal(const Scratch& folder, const std::string& bytes) {
  const std::string path = folder.write("other", bytes);
  std::string message = error_message([&] { load_bundle(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
  return message;
}

}  // namespace

TEST_CASE("a bundle is a program, then a model that reads back to the bit") {
  for (const WeightType weights : {WeightType::f32, WeightType::f16}) {
    const Bundle bundle(weights);
    const std::string bytes = read_text(bundle.path);
    CHECK(bytes.starts_with(program()));
    const BundledModel place = find_bundled_model(bundle.path).value();
    CHECK(place.offset == 64);
    CHECK(place.offset + place.length + 40 == bytes.size());
    const TensorFile wanted = weights == WeightType::f16 ? rounded_to_f16(model(), "model") : model();
    for (const TensorFile& read : {read_bundled_model(bundle.path), read_checkpoint(bundle.path).file}) {
      CHECK(read.metadata == wanted.metadata);
      for (const auto& [name, tensor] : wanted.tensors)
        CHECK(std::memcmp(read.find(name)->raw(), tensor.raw(), tensor.bytes()) == 0);
    }
    const Model loaded = load_bundle(bundle.path);
    CHECK(loaded.spec.classes == std::vector<std::string>{"cat", "dog"});
    CHECK(loaded.hash() == place.hash);
    struct stat status {};
    REQUIRE(stat(bundle.path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0111) == (status.st_mode & 0444) >> 2);
  }
}

TEST_CASE("a bundle that is cut anywhere is refused") {
  const Bundle bundle;
  const std::string bytes = read_text(bundle.path);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    const std::string message = refusal(bundle.folder, bytes.substr(0, size));
    if (size < 4) CHECK(message == "FILE: no bundle; make one with `retort bundle`");
    if (size == 64) CHECK(message.starts_with("FILE: holds no model; "));
    if (size > 64) CHECK(message == "FILE: cut short: its model's end is missing; copy the bundle again");
    CHECK(message.starts_with("FILE: "));
  }
}

TEST_CASE("a bundle with any byte of its model or its trailer changed is refused") {
  const Bundle bundle;
  const std::string bytes = read_text(bundle.path);
  for (std::size_t at = 64; at < bytes.size(); ++at) {
    CAPTURE(at);
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK(refusal(bundle.folder, changed).starts_with("FILE: "));
  }
  std::string changed = bytes;
  changed[100] = static_cast<char>(changed[100] ^ 1);
  CHECK(refusal(bundle.folder, changed).starts_with("FILE: its model has changed since it was bundled (hash "));
}

TEST_CASE("what a bundle can't begin with") {
  const Bundle bundle;
  const auto write = [&](const std::string& program) {
    return error_message([&] { write_bundle(bundle.folder / "new", program, model(), WeightType::f32); });
  };
  const std::string text = bundle.folder.write("text", "#!/bin/sh\n");
  CHECK(write(text) == text + ": no program of this system; build retort-classify again");
  CHECK(write(bundle.path) == bundle.path + ": carries a model already; build retort-classify again");
  const std::vector<std::string> left = bundle.folder.list();
  CHECK(left == std::vector<std::string>{"bundle", "program", "text"});
}
