#include "engine/io/atomic_file.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/folder.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWriteHint = "; free space or choose another folder";
constexpr std::string_view kTemporary = ".tmp";
constexpr std::size_t kRandomDigits = 16;
constexpr std::size_t kMaxStem = 200;  // of the 255 bytes that a name may have

// Takes the outcome of a system call and reads errno after it.
void check_write(bool ok, const std::string& path) {
  if (!ok) throw Error(text(path, ": cannot write: ", reason(errno), kWriteHint));
}

/// What the folder lists is on the disk. Some file systems cannot sync a folder; the file itself is safe by then.
void sync_folder(const fs::path& folder, const std::string& path) {
  const Descriptor descriptor(open_file(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) return;
  if (retried([&] { return ::fsync(descriptor.get()); }) < 0)
    check_write(errno == EINVAL || errno == ENOTSUP || errno == EBADF, path);
}

/// Makes the folder and those above it that are missing, and each is on the disk in the one that holds it.
void create_folders(const fs::path& folder, const std::string& path) {
  std::error_code ignored, error;
  if (folder.empty() || fs::is_directory(folder, ignored)) return;
  create_folders(folder.parent_path(), path);
  fs::create_directory(folder, error);
  if (error && fs::exists(folder, ignored)) error = std::make_error_code(std::errc::not_a_directory);
  check(!error, path, ": cannot write: folder ", folder.string(), ": ", error.message(), "; choose another folder");
  sync_folder(folder.parent_path(), path);
}

/// Where a write to `path` ends up: links followed, parent folder created.
fs::path prepare_target(const std::string& path) {
  check(!path.empty() && path.back() != '/', "'", path, "': cannot write: not a file's name; give a path to a file");
  std::error_code ignored, error;  // that the target does not exist yet is an "error" of the questions below
  fs::path target = path;
  if (fs::is_symlink(target, ignored)) target = fs::weakly_canonical(target, error);
  check(!error, path, ": cannot write: ", error.message(), kWriteHint);
  check(!fs::is_directory(target, ignored), path, ": cannot write: it is a folder; give a path to a file");
  create_folders(target.parent_path(), path);
  return target;
}

/// A device or a pipe has no content to protect, and must not be replaced by a file.
bool is_special(const fs::path& target) {
  std::error_code error;
  return fs::exists(target, error) && !fs::is_regular_file(target, error);
}

/// Hidden, so that no data loader takes it, and in the target's folder, so that a rename stays within one file system.
std::string hidden_stem(const fs::path& target) {
  return text(".", target.filename().string().substr(0, kMaxStem), ".");
}

std::string random_digits() {
  std::random_device source;
  const std::uint64_t bits = std::uint64_t{source()} << 32 | source();
  char digits[kRandomDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(bits));
  return digits;
}

bool names_temporary(const std::string& name, const std::string& stem) {
  if (name.size() != stem.size() + kRandomDigits + kTemporary.size()) return false;
  return name.starts_with(stem) && name.ends_with(kTemporary) &&
         name.find_first_not_of("0123456789abcdef", stem.size()) == stem.size() + kRandomDigits;
}

bool lock_now(int descriptor) {
  return retried([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); }) == 0;
}

/// Whether the descriptor's file is still the one of that name.
bool is_at(int descriptor, const std::string& name) {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor, &opened) == 0 && ::lstat(name.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/// Creates the temporary file and takes its lock. A remover of leftovers may come between: then there is another name.
Descriptor create_temporary(const fs::path& target, const std::string& path, std::string& temporary) {
  while (true) {
    temporary = (target.parent_path() / (hidden_stem(target) + random_digits() + std::string(kTemporary))).string();
    Descriptor file(open_file(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file.get() < 0 && errno == EEXIST) continue;
    check_write(file.get() >= 0, path);
    if (!lock_now(file.get()) && errno == EWOULDBLOCK) continue;
    if (is_at(file.get(), temporary)) return file;
  }
}

/// Removes the temporary files of writers of the target that are no more.
void remove_leftovers(const fs::path& target) {
  const std::string stem = hidden_stem(target);
  const fs::path folder = target.parent_path().empty() ? "." : target.parent_path();
  try {
    for (const std::string& name : names_in(folder)) {
      if (!names_temporary(name, stem)) continue;
      const fs::path leftover = folder / name;
      const Descriptor file(open_file(leftover.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (file.get() >= 0 && lock_now(file.get())) ::unlink(leftover.c_str());
    }
  } catch (const fs::filesystem_error&) {  // what can't be listed is left to the next writer
  }
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(prepare_target(path)) {
  if (is_special(target_)) {
    file_ = Descriptor(open_file(target_.c_str(), O_WRONLY | O_CLOEXEC));
    check_write(file_.get() >= 0, path);
    return;
  }
  remove_leftovers(target_);
  file_ = create_temporary(target_, path, temporary_);
  struct stat old {};
  if (::stat(target_.c_str(), &old) == 0 && ::fchmod(file_.get(), old.st_mode & 0777) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    errno = error;
    check_write(false, path);
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t wanted = std::min<std::size_t>(bytes.size(), 1u << 30);
    const ssize_t written = retried([&] { return ::write(file_.get(), bytes.data(), wanted); });
    if (written == 0) errno = EIO;  // which a regular file never does; it must not loop for ever
    check_write(written > 0, path_);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::sync() {
  if (std::exchange(synced_, true) || temporary_.empty()) return;
  check_write(retried([&] { return ::fsync(file_.get()); }) == 0, path_);
}

void AtomicFile::make_executable() {
  struct stat status {};
  check_write(::fstat(file_.get(), &status) == 0, path_);
  check_write(::fchmod(file_.get(), (status.st_mode & 0777) | (status.st_mode & 0444) >> 2) == 0, path_);
}

void AtomicFile::commit() {
  sync();
  if (!temporary_.empty()) {
    check_write(retried([&] { return ::rename(temporary_.c_str(), target_.c_str()); }) == 0, path_);
    temporary_.clear();
    sync_folder(target_.parent_path(), path_);
  }
  check_write(file_.close(), path_);
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    check(errno == ENOENT, path, ": cannot remove it: ", reason(errno));
    return;
  }
  sync_folder(fs::path(path).parent_path(), path);
}

FileLock::FileLock(const std::string& path) {
  const fs::path target = prepare_target(path);
  if (is_special(target)) return;
  const std::string name = (target.parent_path() / (hidden_stem(target) + "lock")).string();
  while (true) {
    Descriptor file(open_file(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666));
    check_write(file.get() >= 0, path);
    if (!lock_now(file.get())) {
      check(errno != EWOULDBLOCK, path, ": another run is writing it, and holds ", name,
            "; wait for that one, or write elsewhere");
      return;  // a file system without locks
    }
    if (!is_at(file.get(), name)) continue;  // its last holder has just removed it
    lock_path_ = name;
    file_ = std::move(file);
    return;
  }
}

FileLock::~FileLock() {
  if (file_.get() >= 0) ::unlink(lock_path_.c_str());
}

void write_atomic(const std::string& path, const std::function<void(const ByteSink&)>& writer) {
  AtomicFile file(path);
  writer([&](std::span<const std::uint8_t> bytes) { file.write(bytes); });
  file.commit();
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
  const AtomicFile probe(path);
}

}  // namespace retort
