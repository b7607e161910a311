// An open file as the system knows it, and the calls on it that a signal may cut short.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace retort {

/// Closes its file on destruction; -1: none. close() reports what the system says.
class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }

  int get() const { return value_; }
  /// False where the system failed to keep what was written. Linux has closed the file even after EINTR.
  bool close() { return value_ < 0 || ::close(std::exchange(value_, -1)) == 0 || errno == EINTR; }

 private:
  int value_;
};

/// Repeats a system call that a signal interrupted.
template <class Call>
auto retried(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

inline int open_file(const char* path, int flags, mode_t mode = 0) {
  return retried([&] { return ::open(path, flags, mode); });
}

/// The system's own words, e.g. "No such file or directory".
inline std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace retort
