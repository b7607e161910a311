#include "engine/io/own_path.h"

#include <sys/auxv.h>

#include <filesystem>

namespace retort {

std::string own_path() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) return path.string();
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel hands over the address of a text
  const auto* const started_as = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  return started_as ? started_as : "";
}

}  // namespace retort
