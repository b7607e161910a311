#include "engine/core/memory_limit.h"

#include <charconv>
#include <cstdlib>
#include <iomanip>
#include <iterator>
#include <string_view>

namespace retort {
namespace {

constexpr const char* kVariable = "RETORT_MEMORY_LIMIT";

}  // namespace

MemoryLimit memory_limit() {
  if (const char* const words = std::getenv(kVariable)) {
    const std::string_view given(words);
    std::size_t bytes = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), bytes);
    if (error != std::errc() || end != given.data() + given.size() || bytes == 0)
      throw UsageError(text(kVariable, ": '", given, "' is no number of bytes above 0; give one such as 8000000000"));
    return {bytes, kVariable};
  }
  return machine_memory();
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
