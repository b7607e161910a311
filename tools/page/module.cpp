// The program of `retort page`, as a WebAssembly module: one network, and the logits that it gives for a picture.
//
// It has no system, and calls `fail` of JavaScript with the message of what is thrown, which throws it on: that leaves
// the module past every frame, and the instance is of no use any more.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/data/image.h"
#include "engine/data/transform.h"
#include "engine/nn/infer.h"
#include "models/registry.h"

#define RETORT_EXPORT(name) extern "C" __attribute__((export_name(name)))
#define RETORT_IMPORT(name) extern "C" __attribute__((import_module("retort"), import_name(name)))

RETORT_IMPORT("fail") [[noreturn]] void fail(const char* message, std::size_t length);

namespace retort {
namespace {

constexpr const char* kModel = "the model";

std::vector<std::uint8_t> room_;  ///< what JavaScript hands over
std::optional<Model> model_;
PreparedFilters filters_;  ///< its own
Tensor logits_;

}  // namespace

/// Where JavaScript writes `bytes` bytes before it calls load() or classify().
RETORT_EXPORT("room") std::uint8_t* room(std::size_t bytes) {
  room_.resize(bytes);
  return room_.data();
}

/// Takes the room's content for a model file.
RETORT_EXPORT("load") void load() {
  model_ = make_model(read_safetensors(kModel), kModel);
  filters_ = {};
  std::vector<std::uint8_t>().swap(room_);
}

/// The logits of the picture that the room holds behind its name: as many as there are classes, valid until the next
/// call.
RETORT_EXPORT("classify") const float* classify(std::size_t name_bytes) {
  const NoGrad no_grad;
  const std::span<const std::uint8_t> bytes(room_);
  const std::string name(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(name_bytes));
  const Image image = decode_image(bytes.subspan(name_bytes), name);
  const Preprocessing& input = model_->spec.preprocessing;
  Tensor pixels = Tensor::empty({1, input.image_size, input.image_size, input.channels});
  render(image, centre_view(image), input, pixels.data<float>());
  logits_ = infer(*model_->network, pixels, {.filters = &filters_});
  const float* const begin = logits_.data<float>();
  check(std::none_of(begin, begin + logits_.count(), [](float value) { return value != value; }), name,
        ": the model's output is not a number; its weights are broken, train it again");
  return begin;
}

}  // namespace retort

// ---- What this module has in place of a system ----------------------------------------------------------------------

extern "C" {

void* __cxa_allocate_exception(std::size_t size) noexcept { return std::malloc(size); }

/// All that the engine throws begins with a std::exception.
[[noreturn]] void __cxa_throw(void* thrown, void*, void (*)(void*)) {
  const std::string message = static_cast<std::exception*>(thrown)->what();
  fail(message.data(), message.size());
}

char* getenv(const char*) { return nullptr; }

// There is one file, whatever its path: the room's content.
int open(const char*, int, ...) { return 0; }
int close(int) { return 0; }
int fstat(int, struct stat* status) {
  *status = {};
  status->st_mode = S_IFREG;
  status->st_size = static_cast<off_t>(retort::room_.size());
  return 0;
}
int stat(const char*, struct stat* status) { return fstat(0, status); }
ssize_t pread(int, void* to, std::size_t count, off_t offset) {
  const auto size = static_cast<off_t>(retort::room_.size());
  const off_t got = std::clamp<off_t>(size - offset, 0, static_cast<off_t>(count));
  std::copy_n(retort::room_.data() + offset, got, static_cast<std::uint8_t*>(to));
  return static_cast<ssize_t>(got);
}

/// zlib's, of PNG's chunks.
unsigned long crc32(unsigned long crc, const unsigned char* bytes, unsigned count) {
  crc = ~crc;
  for (unsigned i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}
}
