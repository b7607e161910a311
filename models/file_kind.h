// What a file of weights is, by its content, whatever it is called.
#pragma once

#include <cstdint>
#include <string>

namespace retort {

enum class FileKind : std::uint8_t {
  safetensors,  ///< or nothing that is known here: read_safetensors says what it misses
  program,      ///< a bundle, where a model is in it
  pytorch,      ///< .pth, .pt
  keras,        ///< .keras, .h5, .weights.h5
  onnx
};

/// Reads the first bytes, and of an archive its list. Throws Error, naming the file, where it cannot be read.
FileKind file_kind(const std::string& path);

}  // namespace retort
