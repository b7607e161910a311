// What the machine, or the control group that the process is in, has of memory. Each system says it in its own way.
#include "engine/core/memory_limit.h"

#if defined(__linux__)
#include <filesystem>
#include <fstream>
#include <iterator>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#elif defined(_WIN32)
#include <windows.h>
#else
#include <limits>
#endif

namespace retort {
namespace {

std::size_t physical_memory() {
#if defined(__unix__) || defined(__APPLE__)
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#elif defined(_WIN32)
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  GlobalMemoryStatusEx(&status);
  return static_cast<std::size_t>(status.ullTotalPhys);
#else
  return std::numeric_limits<std::size_t>::max();  // all that can be named
#endif
}

#if defined(__linux__)
/// Of one line of /proc/self/cgroup, "ID:CONTROLLERS:/PATH".
struct Group {
  std::string controllers, path;
};

std::optional<Group> group_of(const std::string& line) {
  const std::size_t first = line.find(':');
  const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
  if (second == std::string::npos) return std::nullopt;
  Group group{line.substr(first + 1, second - first - 1), line.substr(second + 1)};
  // Groups outside the container's own view are none that it can look into.
  if (group.path.find("..") != std::string::npos) group.path = "/";
  return group;
}

bool has_memory(const std::string& controllers) {
  return ("," + controllers + ",").find(",memory,") != std::string::npos;
}

}  // namespace

std::optional<MemoryLimit> group_limit(const std::string& groups, const std::string& root) {
  namespace fs = std::filesystem;
  std::optional<MemoryLimit> least;
  std::istringstream lines(groups);
  for (std::string line; std::getline(lines, line);) {
    const std::optional<Group> group = group_of(line);
    if (!group || !(group->controllers.empty() || has_memory(group->controllers))) continue;
    const bool second = group->controllers.empty();
    const fs::path top = second ? fs::path(root) : fs::path(root) / "memory";
    fs::path folder = fs::path(group->path).relative_path();
    for (;; folder = folder.parent_path()) {
      const std::string file = (top / folder / (second ? "memory.max" : "memory.limit_in_bytes")).string();
      std::size_t bytes = 0;  // "max", which is no number, and a file that is not there leave the stream failed
      if (std::ifstream(file) >> bytes && (!least || bytes < least->bytes))
        least = MemoryLimit{bytes, "the control group's " + file};
      if (folder.empty()) break;
    }
  }
  return least;
}
#else
}  // namespace
#endif

MemoryLimit machine_memory() {
  MemoryLimit limit{physical_memory(), "the machine's memory"};
#if defined(__linux__)
  std::ifstream file("/proc/self/cgroup");
  const std::string groups{std::istreambuf_iterator<char>(file), {}};
  std::optional<MemoryLimit> group = group_limit(groups, "/sys/fs/cgroup");
  if (group && group->bytes < limit.bytes) return *std::move(group);
#endif
  return limit;
}

}  // namespace retort
