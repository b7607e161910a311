#include "engine/io/folder.h"

#include <dirent.h>

#include <cerrno>
#include <memory>
#include <system_error>

namespace retort {

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  const auto failed = [&] {
    return std::filesystem::filesystem_error("cannot be listed", folder,
                                             std::error_code(errno, std::system_category()));
  };
  const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder.c_str()), ::closedir);
  if (!opened) throw failed();
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(opened.get());
    if (!entry) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) throw failed();
  return names;
}

}  // namespace retort
