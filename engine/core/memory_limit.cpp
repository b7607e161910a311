#include "engine/core/memory_limit.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <string_view>

namespace retort {
namespace {

constexpr const char* kVariable = "RETORT_MEMORY_LIMIT";

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

MemoryLimit memory_limit() {
  if (const char* const words = std::getenv(kVariable)) {
    const std::string_view given(words);
    std::size_t bytes = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), bytes);
    if (error != std::errc() || end != given.data() + given.size() || bytes == 0)
      throw UsageError(text(kVariable, ": '", given, "' is no number of bytes above 0; give one such as 8000000000"));
    return {bytes, kVariable};
  }
  MemoryLimit limit{static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)),
                    "the machine's memory"};
  std::ifstream file("/proc/self/cgroup");
  const std::string groups{std::istreambuf_iterator<char>(file), {}};
  std::optional<MemoryLimit> group = group_limit(groups, "/sys/fs/cgroup");
  return group && group->bytes < limit.bytes ? *std::move(group) : limit;
}

std::string human_bytes(std::size_t bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  std::ostringstream stream;
  stream << std::fixed << std::setprecision(unit == 0 ? 0 : 1) << value << ' ' << units[unit];
  return stream.str();
}

}  // namespace retort
