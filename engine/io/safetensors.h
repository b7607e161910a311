// The safetensors format: an 8-byte little-endian header length, a JSON header, then raw tensors.
// Tensors here are in *file* layout and order (OIHW, [out, in]); io/layout.h converts a Parameter.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/nn/module.h"

namespace retort {

struct TensorFile {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< in file order; f32, f64 or i64; a scalar has shape []

  /// Null if there is none of that name.
  const Tensor* find(const std::string& name) const;
};

/// Reads F32, F64, I64, and converts F16 and BF16 to f32. Throws Error naming the file for a header that is too long,
/// not JSON, or whose entries overlap, leave gaps, overflow, or disagree with dtype and shape; and for unknown dtypes.
TensorFile read_safetensors(const std::string& path);
/// The header's metadata alone. Throws Error as read_safetensors does, but looks at no tensor.
std::map<std::string, std::string> read_safetensors_metadata(const std::string& path);
/// Atomic.
void write_safetensors(const std::string& path, const TensorFile& file);

}  // namespace retort
