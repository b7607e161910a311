// What a folder holds.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace retort {

/// The names in a folder but "." and "..", in no order. Throws std::filesystem::filesystem_error. Not by
/// directory_iterator, which ends the program where memory runs out (libstdc++ 12).
std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace retort
