// HDF5 files as far as Keras's weights need them: datasets of floats by path, and the root's texts.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace retort {

struct Hdf5File {
  struct Dataset {
    std::vector<std::int64_t> dims;
    std::vector<float> values;
  };
  std::map<std::string, Dataset> datasets;   ///< by path, "layers/conv2d/vars/0"
  std::map<std::string, std::string> texts;  ///< attributes of the root that are text
};

/// Whether a file's first bytes are HDF5's.
bool is_hdf5(std::string_view head);

/// Reads what floats an HDF5 file holds, whatever their width, as float32; whole numbers are left out, and what an
/// optimizer keeps. libhdf5 runs in a child process with bounded memory and time: a damaged header can end it, not this
/// program. Links to other files are not followed. Throws Error, its message beginning with `where`: a file that is
/// damaged, larger inside than outside, compressed, or with data elsewhere; and every file where the program was built
/// without libhdf5.
Hdf5File read_hdf5(std::span<const std::uint8_t> bytes, const std::string& where);

}  // namespace retort
