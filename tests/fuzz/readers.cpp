#include "tests/fuzz/readers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/core/check.h"
#include "engine/data/dataset.h"
#include "engine/data/image.h"
#include "engine/data/pixel_cache.h"
#include "engine/distill/logit_store.h"
#include "engine/distill/partial_logits.h"
#include "engine/io/csv.h"
#include "engine/io/descriptor.h"
#include "engine/io/file.h"
#include "engine/io/npy.h"
#include "engine/io/pickle.h"
#include "engine/io/safetensors.h"
#include "engine/io/zip.h"
#include "models/bundle.h"
#include "models/graph/keras.h"
#include "models/graph/onnx.h"
#include "models/pytorch.h"

namespace retort::fuzz {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// A file in memory alone, by a name that readers can open.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes bytes) : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (file_.get() < 0 || ::write(file_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      std::abort();
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_.get()); }

 private:
  Descriptor file_;
};

/// A folder that lives as long as the process.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_((std::filesystem::temp_directory_path() / "retort-fuzz-XXXXXX").string()) {
    if (!mkdtemp(path_.data())) std::abort();
  }
  ~TemporaryFolder() {
    std::error_code left_behind;
    std::filesystem::remove_all(path_, left_behind);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::string& folder() {
  static const TemporaryFolder temporary;
  return temporary.path();
}

void put(const std::string& name, Bytes bytes) {
  const std::string path = folder() + "/" + name;
  const Descriptor file(open_file(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
}

Bytes bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

void read_image(Bytes bytes) {
  const Image image = decode_image(bytes, "fuzz");
  // MemorySanitizer reports a branch on bytes that were never written.
  std::uint64_t sum = 0;
  for (const std::uint8_t pixel : image.pixels) sum += pixel;
  if (sum == ~std::uint64_t{0}) std::abort();
}

void read_idx(Bytes bytes) {
  // Two files: the images, and labels of as many as the images say.
  put("train-images-idx3-ubyte.gz", bytes);
  std::string labels("\0\0\x08\1\0\0\0\1\0", 9);
  put("train-labels-idx1-ubyte", bytes_of(labels));
  DatasetOptions options;
  options.path = folder();
  open_dataset(options);
}

void read_index(Bytes bytes) {
  static const bool once = [] {
    write_npy(folder() + "/store.npy", Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4}));
    return true;
  }();
  static_cast<void>(once);
  put("store.json", bytes);
  read_logit_store(folder() + "/store.npy", {});
}

void read_top(Bytes bytes) {
  StoredLogits::open(MemoryFile(bytes).path(), 4, {.half = true, .top = 2}).each([](std::span<const float>) {});
}

void read_partial(Bytes bytes) {
  put("under-way.partial", bytes);
  const PartialLogits logits(folder() + "/under-way.npy", {}, 2);
  logits.read([](std::span<const float>) {});
}

void read_zip(Bytes bytes) {
  const ZipFile zip(MemoryFile(bytes).path());
  for (const ZipFile::Member& member : zip.members())
    if (member.stored) zip.content(member);
}

constexpr Reader kReaders[] = {
    {"image", read_image},
    {"safetensors", [](Bytes bytes) { read_safetensors(MemoryFile(bytes).path()); }},
    {"npy", [](Bytes bytes) { read_npy(MemoryFile(bytes).path()); }},
    {"pickle", [](Bytes bytes) { const pickle::Pickle content(bytes, "fuzz"); }},
    {"pickled_dict", [](Bytes bytes) { read_pickled_dict(MemoryFile(bytes).path()); }},
    {"csv",
     [](Bytes bytes) {
       const MemoryFile file(bytes);
       if (!read_prediction_csv(file.path())) read_logit_csv(file.path());
     }},
    {"idx", read_idx},
    {"store_index", read_index},
    {"store_top", read_top},
    {"partial_logits", read_partial},
    {"keras", [](Bytes bytes) { import_keras(MemoryFile(bytes).path(), ""); }},
    {"keras_config",
     [](Bytes bytes) {
       const std::string json(bytes.begin(), bytes.end());
       check_keras_model(read_keras_config(json, "", "fuzz"), "fuzz");
     }},
    {"cache", [](Bytes bytes) { cached_images(MemoryFile(bytes).path()); }},
    {"onnx", [](Bytes bytes) { import_onnx(MemoryFile(bytes).path()); }},
    {"pytorch", [](Bytes bytes) { read_pytorch(MemoryFile(bytes).path(), ""); }},
    {"zip", read_zip},
    {"bundle", [](Bytes bytes) { load_bundle(MemoryFile(bytes).path()); }},
};

}  // namespace

std::span<const Reader> readers() { return kReaders; }

}  // namespace retort::fuzz
