// NumPy's .npy, and the older pickled dict {name: vector} in a .npy, read by a parser that executes nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/io/file.h"

namespace retort {

/// Versions 1 to 3, C order, '<f4', '<f8', '<i8' (and '<i4' widened). Throws Error naming the file: another dtype,
/// Fortran order, a version not known, fewer or more bytes than the header says, an object array (says how to import
/// it).
Tensor read_npy(const std::string& path);
/// Atomic; version 1.0, C order.
void write_npy(const std::string& path, const Tensor& tensor);
/// The same bytes into `sink`; `path` is named in errors.
void write_npy(const ByteSink& sink, const Tensor& tensor, const std::string& path);

/// What begins such a file; the elements follow. `descr` as a Python literal: "'<f4'", or a list of fields.
void write_npy_header(const ByteSink& sink, const std::string& descr, const Shape& shape);

/// True if the file is a .npy holding a pickled object.
bool is_pickled_npy(const std::string& path);
/// A pickled dict {str: 1-d float array or list of numbers} in insertion order. Any opcode beyond plain data, and any
/// global but NumPy's array reconstruction, is refused by name; nothing is ever executed.
std::vector<std::pair<std::string, std::vector<float>>> read_pickled_dict(const std::string& path);

}  // namespace retort
