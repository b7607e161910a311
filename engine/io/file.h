// Reading regular files, whole or in part, and writing that is all or nothing (engine/io/atomic_file.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/io/descriptor.h"

namespace retort {

/// A regular file opened for reading at any offset, for those too large to hold twice. Throws Error naming the file and
/// the system's reason; for a pipe or a device, too, which may never end.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  /// The `size` bytes from `offset` on, as if they were the file. Throws Error where the file ends before.
  InputFile(const std::string& path, std::uint64_t offset, std::uint64_t size);

  std::uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset` on; throws Error if the file ends before.
  void read(std::uint64_t offset, std::span<std::uint8_t> bytes) const;

 private:
  std::string path_;
  std::uint64_t begin_ = 0, size_ = 0;
  Descriptor file_;
};

/// A regular file's bytes, as many as it has when it is opened. Throws Error naming the file and the system's reason,
/// and, before it reads, for a file larger than memory_limit() (engine/core/memory_limit.h).
std::vector<std::uint8_t> read_file(const std::string& path);
/// What a text may have that is read whole: a table of scores, an index, a list.
inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{1} << 30;
/// A text's bytes. Throws as read_file does, and, before it reads the rest, for a longer one and one with a zero byte
/// among its first.
std::vector<std::uint8_t> read_text_file(const std::string& path);
/// What a gzip file may inflate to, beyond a first 64 MiB: 32 times its own size. Real pictures take a fifth of that.
inline constexpr std::uint64_t kMaxInflation = 32, kFreeInflation = 64 << 20;
/// As read_file, and inflates gzip content. Throws Error on a stream cut short, corrupt, or beyond the bound above.
std::vector<std::uint8_t> read_maybe_gzip(const std::string& path);

/// Receives bytes in order.
using ByteSink = std::function<void(std::span<const std::uint8_t>)>;
/// Writes path by way of an AtomicFile (engine/io/atomic_file.h). Throws what that throws, and what `writer` throws.
void write_atomic(const std::string& path, const std::function<void(const ByteSink&)>& writer);
void write_atomic(const std::string& path, std::span<const std::uint8_t> bytes);
void write_atomic(const std::string& path, const std::string& text);

/// Throws Error if a file could not be written at path later: its folder (created if missing) must take a file. Removes
/// what killed writers of this file left in the folder. For a command to call before hours of work.
void check_writable(const std::string& path);

/// XXH64 with seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) as 16 lower-case hex digits:
/// what `xxhsum -H64` prints. It finds files that changed; it is no defence against one made to collide.
std::string content_hash(std::span<const std::uint8_t> bytes);
/// content_hash of a file's bytes, in constant memory.
std::string file_hash(const std::string& path);
std::string file_hash(const InputFile& file);

}  // namespace retort
