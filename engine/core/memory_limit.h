// How much memory the program may use, and who says so.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "engine/core/check.h"

namespace retort {

/// Memory ran out, or a limit was reached.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

struct MemoryLimit {
  std::size_t bytes;
  std::string origin;  ///< what sets it, for messages: a variable, a file, "the machine's memory"
};

/// The environment's RETORT_MEMORY_LIMIT, in bytes, where it is set; else machine_memory(). Throws UsageError for a
/// variable that is no number above 0.
MemoryLimit memory_limit();

/// The least of the machine's memory and, on Linux, the limits of the control groups that the process is in.
MemoryLimit machine_memory();

/// The least limit of the control groups that `groups` names, as /proc/self/cgroup does, and of those they lie in;
/// `root` is /sys/fs/cgroup. Reads memory.max (version 2) and memory/.../memory.limit_in_bytes (version 1). None where
/// there is no limit.
std::optional<MemoryLimit> group_limit(const std::string& groups, const std::string& root);

/// "1.2 GiB", "640 KiB"
std::string human_bytes(std::size_t bytes);

}  // namespace retort
