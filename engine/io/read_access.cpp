#include "engine/io/read_access.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "engine/io/descriptor.h"

#if defined(_WIN32)
#include <io.h>
#endif

namespace retort {
namespace {

template <class Status>
FileStatus described(const Status& status) {
  return {S_ISDIR(status.st_mode)   ? FileKind::folder
          : S_ISREG(status.st_mode) ? FileKind::regular
                                    : FileKind::other,
          static_cast<std::uint64_t>(status.st_size)};
}

}  // namespace

#if defined(_WIN32)

int open_to_read(const char* path) { return _open(path, _O_RDONLY | _O_BINARY | _O_NOINHERIT); }

bool status_of(int descriptor, FileStatus& status) {
  struct _stat64 found {};
  if (_fstat64(descriptor, &found) != 0) return false;
  status = described(found);
  return true;
}

std::optional<FileStamp> stamp_of_file(const char* path) {
  struct _stat64 found {};
  if (_stat64(path, &found) != 0) return std::nullopt;
  constexpr std::int64_t kSecond = 1'000'000'000;
  return FileStamp{static_cast<std::uint64_t>(found.st_size), found.st_mtime * kSecond, found.st_ctime * kSecond};
}

std::int64_t read_from(int descriptor, void* to, std::size_t count, std::uint64_t offset) {
  if (_lseeki64(descriptor, static_cast<std::int64_t>(offset), SEEK_SET) < 0) return -1;
  return _read(descriptor, to, static_cast<unsigned>(count));
}

#else

int open_to_read(const char* path) { return open_file(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }

bool status_of(int descriptor, FileStatus& status) {
  struct stat found {};
  if (::fstat(descriptor, &found) != 0) return false;
  status = described(found);
  return true;
}

std::optional<FileStamp> stamp_of_file(const char* path) {
  struct stat found {};
  if (::stat(path, &found) != 0) return std::nullopt;
#if defined(__APPLE__)
  const timespec &modified = found.st_mtimespec, &changed = found.st_ctimespec;
#else
  const timespec &modified = found.st_mtim, &changed = found.st_ctim;
#endif
  const auto nanoseconds = [](const timespec& time) {
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
  };
  return FileStamp{static_cast<std::uint64_t>(found.st_size), nanoseconds(modified), nanoseconds(changed)};
}

std::int64_t read_from(int descriptor, void* to, std::size_t count, std::uint64_t offset) {
  return ::pread(descriptor, to, count, static_cast<off_t>(offset));
}

#endif

}  // namespace retort
