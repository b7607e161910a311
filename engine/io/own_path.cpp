#include "engine/io/own_path.h"

#if defined(__APPLE__)
#include <mach-o/dyld.h>

#include <cstdint>
#elif defined(_WIN32)
#include <cstdlib>
#else
#include <sys/auxv.h>

#include <filesystem>
#endif

namespace retort {

#if defined(__APPLE__)

std::string own_path() {
  std::uint32_t size = 0;
  _NSGetExecutablePath(nullptr, &size);  // with its ending 0
  std::string path(size, '\0');
  if (_NSGetExecutablePath(path.data(), &size) != 0) return "";
  return path.c_str();
}

#elif defined(_WIN32)

std::string own_path() {
  char* path = nullptr;
  return _get_pgmptr(&path) == 0 && path ? path : "";
}

#else

std::string own_path() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) return path.string();
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel hands over the address of a text
  const auto* const started_as = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  return started_as ? started_as : "";
}

#endif

}  // namespace retort
