// A table of scores as other programs save it: .npy in any order and any width of float.
#pragma once

#include <string>

#include "engine/core/tensor.h"

namespace retort {

/// [rows, columns] as f32, C order: of '<f2', '<f4', '<f8' and their big-endian twins, in C or Fortran order. Throws
/// Error naming the file: another dtype, another number of axes, fewer or more bytes than the header says.
Tensor read_score_table(const std::string& path);

}  // namespace retort
