// How each system opens a file to read it, says what it is, and reads at an offset. What fails sets errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace retort {

/// -1 where it fails. No child process gets the file, and nothing waits for the other end of a pipe.
int open_to_read(const char* path);

enum class FileKind { regular, folder, other };
struct FileStatus {
  FileKind kind = FileKind::other;
  std::uint64_t size = 0;  ///< bytes
};
/// False where it fails.
bool status_of(int descriptor, FileStatus& status);

/// By what one sees that a file is another than before: its size, and when its content and its entry changed.
struct FileStamp {
  std::uint64_t bytes = 0;
  std::int64_t modified = 0,
               changed = 0;  ///< nanoseconds since 1970; Windows knows seconds, and of `changed` the birth
  bool operator==(const FileStamp&) const = default;
};
/// Nothing where it fails.
std::optional<FileStamp> stamp_of_file(const char* path);

/// At most `count` bytes from `offset` on; returns how many, 0 at the file's end, -1 where it fails. A signal may end
/// it with EINTR. On Windows it moves the file's position, so that one file is read by one thread at a time there.
std::int64_t read_from(int descriptor, void* to, std::size_t count, std::uint64_t offset);

}  // namespace retort
