// The header of a .npy file (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/file.h"

namespace retort {

struct NpyHeader {
  std::string descr;  ///< dtype, e.g. "<f4"; "|O" for pickled objects
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::uint64_t data_at = 0;  ///< offset of the first element
};

/// Throws Error naming `path` for what is no .npy, a version other than 1 to 3, a header cut short or malformed, and
/// for records of several fields unless they are `structured`: descr is then their list as it stands in the file.
NpyHeader read_npy_header(const InputFile& file, const std::string& path, bool structured = false);

}  // namespace retort
