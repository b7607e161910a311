#include "engine/distill/partial_logits.h"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

constexpr std::string_view kMagic = "RETORTL1";
constexpr std::size_t kHash = 16;  // hex digits
constexpr const char* kWayOut = "; move it away, or throw it away with --restart";

std::string_view text_of(const std::vector<std::uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What begins the file.
std::string header_of(const Fingerprint& fingerprint) {
  const std::string json = json_text(nlohmann::json(fingerprint));
  const std::uint64_t size = json.size();
  return std::string(kMagic) + std::string(reinterpret_cast<const char*>(&size), sizeof size) + json;
}

/// The fingerprint of a file, and where its blocks begin.
Fingerprint read_header(const std::string& path, std::uint64_t& data_at) {
  const InputFile file(path);
  std::vector<std::uint8_t> bytes(kMagic.size());
  const bool long_enough = file.size() >= kMagic.size() + sizeof(std::uint64_t);
  if (long_enough) file.read(0, bytes);
  check(long_enough && text_of(bytes) == kMagic, path, ": not logits under way", kWayOut);
  std::uint64_t size = 0;
  file.read(kMagic.size(), {reinterpret_cast<std::uint8_t*>(&size), sizeof size});
  data_at = kMagic.size() + sizeof size;
  check(size <= file.size() - data_at, path, ": cut short in its settings", kWayOut);
  bytes.resize(size);
  file.read(data_at, bytes);
  data_at += size;
  try {
    return parse_json(text_of(bytes), path + ": its settings are damaged: ", kWayOut).get<Fingerprint>();
  } catch (const nlohmann::json::exception&) {
    throw Error(text(path, ": its settings are damaged", kWayOut));
  }
}

}  // namespace

std::string PartialLogits::path_of(const std::string& store) {
  return std::filesystem::path(store).replace_extension(".partial").string();
}

PartialLogits::PartialLogits(const std::string& store, const Fingerprint& fingerprint, std::int64_t classes)
    : path_(path_of(store)), classes_(classes) {
  if (!std::filesystem::exists(path_)) write_atomic(path_, header_of(fingerprint));
  check_same(read_header(path_, data_at_), fingerprint, path_);
  const std::uint64_t whole = read_blocks({}, rows_);
  file_ = Descriptor(open_file(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  check(file_.get() >= 0 && retried([&] { return ::ftruncate(file_.get(), static_cast<off_t>(whole)); }) == 0, path_,
        ": cannot write: ", reason(errno), "; give an --out in a folder that can be written");
}

PartialLogits::~PartialLogits() {
  if (rows_ == 0) ::unlink(path_.c_str());
}

std::uint64_t PartialLogits::read_blocks(const LogitSink& sink, std::int64_t& rows) const {
  const InputFile file(path_);
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(classes_) * sizeof(float);
  std::uint64_t at = data_at_;
  std::vector<std::uint8_t> block, hash(kHash);
  std::vector<float> logits;
  for (rows = 0;;) {
    std::int64_t count = 0;
    const std::uint64_t left = file.size() - at;
    if (left < sizeof count + kHash) return at;
    file.read(at, {reinterpret_cast<std::uint8_t*>(&count), sizeof count});
    const std::uint64_t room = (left - sizeof count - kHash) / row_bytes;
    if (count < 1 || static_cast<std::uint64_t>(count) > room) return at;
    block.resize(sizeof count + static_cast<std::uint64_t>(count) * row_bytes);
    file.read(at, block);
    file.read(at + block.size(), hash);
    if (text_of(hash) != content_hash(block)) return at;
    if (sink) {
      logits.resize(static_cast<std::size_t>(count * classes_));
      std::memcpy(logits.data(), block.data() + sizeof count, block.size() - sizeof count);
      sink(logits);
    }
    at += block.size() + hash.size();
    rows += count;
  }
}

void PartialLogits::add(const Tensor& logits) {
  check(logits.shape()[1] == classes_, "teacher: gives ", logits.shape()[1], " logits where ", classes_,
        " classes were expected");
  for (const float value : logits.span<float>())
    check(std::isfinite(value), path_, ": a logit is ", value, ", expected finite numbers; check the teacher");
  const std::int64_t count = logits.shape()[0];
  std::vector<std::uint8_t> block(sizeof count + logits.bytes());
  std::memcpy(block.data(), &count, sizeof count);
  std::memcpy(block.data() + sizeof count, logits.raw(), logits.bytes());
  const std::string hash = content_hash(block);
  block.insert(block.end(), hash.begin(), hash.end());
  for (std::size_t written = 0; written < block.size();) {
    const ssize_t n = retried([&] { return ::write(file_.get(), block.data() + written, block.size() - written); });
    check(n > 0, path_, ": cannot write: ", reason(n < 0 ? errno : EIO), "; free some space and resume");
    written += static_cast<std::size_t>(n);
  }
  rows_ += count;
}

void PartialLogits::read(const LogitSink& sink) const {
  std::int64_t rows = 0;
  read_blocks(sink, rows);
  check(rows == rows_, path_, ": changed while it was read; run the command again");
}

void PartialLogits::remove() { remove_file(path_); }

}  // namespace retort
