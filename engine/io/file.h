// Reading files, whole, in part or mapped, and writing that is all or nothing: a temporary name beside the target,
// fsync, rename.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// A file opened for reading at any offset, for those too large to hold twice. Throws Error naming the file and the
/// system's reason.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset` on; throws Error if the file ends before.
  void read(std::uint64_t offset, std::span<std::uint8_t> bytes) const;

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_;
};

/// A file's bytes as memory: the system reads them when they are touched, and all processes share them. Throws Error
/// as InputFile does.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::uint8_t> bytes() const { return bytes_; }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// Throws Error naming the file and the system's reason.
std::vector<std::uint8_t> read_file(const std::string& path);
/// As read_file, and inflates gzip content. Throws Error on a stream cut short or corrupt.
std::vector<std::uint8_t> read_maybe_gzip(const std::string& path);

/// Receives bytes in order.
using ByteSink = std::function<void(std::span<const std::uint8_t>)>;
/// Writes path by way of a temporary file; on any failure (full disk, folder not writable) removes that and throws
/// Error naming the path. Creates missing parent folders. Follows symbolic links; what is neither a file nor a folder
/// (/dev/stdout, a pipe) is written to directly.
void write_atomic(const std::string& path, const std::function<void(const ByteSink&)>& writer);
void write_atomic(const std::string& path, std::span<const std::uint8_t> bytes);
void write_atomic(const std::string& path, const std::string& text);

/// Throws Error if a file could not be written at path later: its folder (created if missing) must take a file. For a
/// command to call before hours of work.
void check_writable(const std::string& path);

/// XXH64 with seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) as 16 lower-case hex digits:
/// what `xxhsum -H64` prints. It finds files that changed; it is no defence against one made to collide.
std::string content_hash(std::span<const std::uint8_t> bytes);
/// content_hash of a file's bytes, in constant memory.
std::string file_hash(const std::string& path);

}  // namespace retort
