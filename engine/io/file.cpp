#include "engine/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "engine/core/check.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

/// A system's own words, e.g. "No such file or directory".
std::string reason(int error) { return std::generic_category().message(error); }

constexpr const char* kWriteHint = "; free space or choose another folder";

// Both take the outcome of a system call and read errno after it; arguments of one call have no order.
void check_read(bool ok, const std::string& path) {
  if (!ok) throw Error(text(path, ": cannot read: ", reason(errno), "; check the path and its permissions"));
}

void check_write(bool ok, const std::string& path) {
  if (!ok) throw Error(text(path, ": cannot write: ", reason(errno), kWriteHint));
}

int open_for_reading(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check_read(descriptor >= 0, path);
  return descriptor;
}

/// An open descriptor; closed on destruction unless close() was called, which reports what the system says.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

/// Removes a file on destruction unless released.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }
  void release() { path_.clear(); }

 private:
  std::string path_;
};

void write_all(int descriptor, std::span<const std::uint8_t> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    check_write(written >= 0, path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// Where a write to `path` ends up: links followed, parent folder created.
fs::path prepare_target(const std::string& path) {
  check(!path.empty() && path.back() != '/', "'", path, "': cannot write: not a file's name; give a path to a file");
  std::error_code ignored, error;  // that the target does not exist yet is an "error" of the questions below
  fs::path target = path;
  if (fs::is_symlink(target, ignored)) target = fs::weakly_canonical(target, error);
  check(!error, path, ": cannot write: ", error.message(), kWriteHint);
  check(!fs::is_directory(target, ignored), path, ": cannot write: it is a folder; give a path to a file");
  const fs::path folder = target.parent_path();
  if (!folder.empty() && !fs::is_directory(folder, ignored)) fs::create_directories(folder, error);
  check(!error, path, ": cannot write: folder ", folder.string(), ": ", error.message(), "; choose another folder");
  return target;
}

/// A device or a pipe has no content to protect, and must not be replaced by a file.
bool is_special(const fs::path& target) {
  std::error_code error;
  return fs::exists(target, error) && !fs::is_regular_file(target, error);
}

/// In the target's folder, so that the rename stays within one file system; hidden, so that no data loader takes it.
std::string temporary_name(const fs::path& target) {
  return (target.parent_path() / text(".", target.filename().string(), ".", ::getpid(), ".tmp")).string();
}

int create(const std::string& temporary, const std::string& path) {
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check_write(descriptor >= 0, path);
  return descriptor;
}

/// Makes a rename in the folder durable. Some file systems cannot sync a folder; the file itself is safe by then.
void sync_folder(const fs::path& folder) {
  const Descriptor descriptor(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() >= 0) ::fsync(descriptor.get());
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path), descriptor_(open_for_reading(path)) {
  struct stat status {};
  const bool ok = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!ok) ::close(descriptor_);
  check(ok, path, ": cannot read: not a regular file; give a path to a file");
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

MappedFile::MappedFile(const std::string& path) {
  const Descriptor descriptor(open_for_reading(path));
  struct stat status {};
  const bool ok = ::fstat(descriptor.get(), &status) == 0 && S_ISREG(status.st_mode);
  check(ok, path, ": cannot read: not a regular file; give a path to a file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;  // which cannot be mapped
  void* const bytes = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.get(), 0);
  check_read(bytes != MAP_FAILED, path);
  bytes_ = {static_cast<const std::uint8_t*>(bytes), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());
}

void InputFile::read(std::uint64_t offset, std::span<std::uint8_t> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    check_read(got >= 0, path_);
    check(got > 0, path_, ": ends at byte ", offset, " where more was expected; copy or download it again");
    offset += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

std::vector<std::uint8_t> read_file(const std::string& path) {
  const Descriptor descriptor(open_for_reading(path));
  struct stat status {};
  check_read(::fstat(descriptor.get(), &status) == 0, path);
  check(!S_ISDIR(status.st_mode), path, ": cannot read: it is a folder; give a path to a file");
  // The size is a hint only (0 for pipes); one byte more lets the last read meet the end of the file.
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(status.st_size) + 1);
  std::size_t used = 0;
  while (true) {
    if (used == bytes.size()) bytes.resize(bytes.size() * 2 + 65536);
    const ssize_t got = ::read(descriptor.get(), bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    check_read(got >= 0, path);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  bytes.resize(used);
  return bytes;
}

std::vector<std::uint8_t> read_maybe_gzip(const std::string& path) {
  std::vector<std::uint8_t> packed = read_file(path);
  const auto is_gzip = [&](std::size_t at) {
    return packed.size() >= at + 2 && packed[at] == 0x1f && packed[at + 1] == 0x8b;
  };
  if (!is_gzip(0)) return packed;

  constexpr int kGzipOnly = 15 + 16;  // the largest window, and a gzip header rather than zlib's
  z_stream stream{};
  check(inflateInit2(&stream, kGzipOnly) == Z_OK, path, ": cannot inflate: out of memory; free some memory");
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};

  std::vector<std::uint8_t> plain(packed.size() * 4 + 65536);
  std::size_t in = 0, out = 0;
  while (true) {
    if (out == plain.size()) plain.resize(plain.size() * 2);
    // zlib counts in 32 bits.
    constexpr std::size_t kMaxBytes = std::numeric_limits<uInt>::max();
    const auto available_in = static_cast<uInt>(std::min(packed.size() - in, kMaxBytes));
    const auto available_out = static_cast<uInt>(std::min(plain.size() - out, kMaxBytes));
    stream.next_in = packed.data() + in;
    stream.avail_in = available_in;
    stream.next_out = plain.data() + out;
    stream.avail_out = available_out;
    const int status = inflate(&stream, Z_NO_FLUSH);
    in += available_in - stream.avail_in;
    out += available_out - stream.avail_out;
    if (status == Z_STREAM_END) {
      if (in == packed.size()) break;
      // A gzip file may be several, one after the other.
      check(is_gzip(in), path, ": gzip data is followed by something else; copy or download it again");
      inflateReset(&stream);
      continue;
    }
    check(status == Z_OK || status == Z_BUF_ERROR, path, ": gzip data is corrupt (",
          stream.msg ? stream.msg : "unknown", "); copy or download it again");
    check(in < packed.size() || stream.avail_out == 0, path, ": gzip data is cut short; copy or download it again");
  }
  plain.resize(out);
  return plain;
}

void write_atomic(const std::string& path, const std::function<void(const ByteSink&)>& writer) {
  const fs::path target = prepare_target(path);
  if (is_special(target)) {
    Descriptor descriptor(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    check_write(descriptor.get() >= 0, path);
    writer([&](std::span<const std::uint8_t> bytes) { write_all(descriptor.get(), bytes, path); });
    check_write(descriptor.close(), path);
    return;
  }
  const std::string name = temporary_name(target);
  Descriptor descriptor(create(name, path));
  TemporaryFile temporary(name);
  writer([&](std::span<const std::uint8_t> bytes) { write_all(descriptor.get(), bytes, path); });
  check_write(::fsync(descriptor.get()) == 0, path);
  check_write(descriptor.close(), path);
  check_write(::rename(name.c_str(), target.c_str()) == 0, path);
  temporary.release();
  sync_folder(target.parent_path());
}

void write_atomic(const std::string& path, std::span<const std::uint8_t> bytes) {
  write_atomic(path, [&](const ByteSink& sink) { sink(bytes); });
}

void write_atomic(const std::string& path, const std::string& text) {
  write_atomic(path, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

void check_writable(const std::string& path) {
  const fs::path target = prepare_target(path);
  if (is_special(target)) {
    check_write(::access(target.c_str(), W_OK) == 0, path);
    return;
  }
  const TemporaryFile temporary(temporary_name(target));
  const Descriptor descriptor(create(temporary.path(), path));
}

}  // namespace retort
