// Writing that is all or nothing: a temporary file beside the target, fsync, rename, fsync of the folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "engine/io/descriptor.h"

namespace retort {

/// A file under way. Until commit() the target is what it was; afterwards it is the new content, whole, with the mode
/// that the old file had.
///
/// The temporary name holds 64 random bits and is created anew, never through a link, so that neither another run nor
/// anybody who can write to the folder can have it first. Its writer holds a lock on it: one without is what a killed
/// writer left, and the next writer of the same file takes it away. Missing parent folders are created. Symbolic links
/// are followed; what is neither a file nor a folder (/dev/stdout, a pipe) is written to directly.
///
/// All throw Error naming the path and the system's reason (full disk, folder not writable).
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  /// Removes the temporary file, unless committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::uint8_t> bytes);
  /// Everything written is on the disk, under temporary().
  void sync();
  const std::string& temporary() const { return temporary_; }
  /// Whoever may read the file may execute it, whatever the mode of an old one.
  void make_executable();
  /// Puts the file in its place; sync() comes first.
  void commit();

 private:
  std::string path_;
  std::filesystem::path target_;
  std::string temporary_;  ///< empty for a device or a pipe
  Descriptor file_;
  bool synced_ = false;
};

/// Removes a file for good: a loss of power does not bring it back. One that is not there is none to remove. Throws
/// Error naming the path and the system's reason.
void remove_file(const std::string& path);

/// Keeps other runs from the files of this one. The system lets go of the lock when the process ends, however it ends;
/// where the file system knows no locks there is none. The lock's file, .NAME.lock beside `path`, goes with the lock; a
/// killed process leaves it, empty of meaning, to the next.
class FileLock {
 public:
  /// Throws Error where a living process holds the lock. `path`: the file whose writers keep each other out.
  explicit FileLock(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  std::string lock_path_;
  Descriptor file_;
};

}  // namespace retort
