// The safetensors format: an 8-byte little-endian header length, a JSON header, then raw tensors.
// Tensors here are in *file* layout and order (OIHW, [out, in]); io/layout.h converts a Parameter.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/io/file.h"
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
/// The same of a file's part, which errors call `path`.
TensorFile read_safetensors(const InputFile& input, const std::string& path);
/// The header's metadata alone. Throws Error as read_safetensors does, but looks at no tensor.
std::map<std::string, std::string> read_safetensors_metadata(const std::string& path);
/// Atomic.
void write_safetensors(const std::string& path, const TensorFile& file);

/// How the filters and matrices of a file are written: f32 tensors of two axes or more. Vectors (biases, statistics)
/// are few and stay as they are.
enum class WeightType : std::uint8_t { f32, f16 };

/// The file as it reads back once its weights were written as f16.
TensorFile rounded_to_f16(const TensorFile& file, const std::string& path);

/// Hands the file's bytes to `sink`; errors call it `path`. Throws Error naming the tensor for one with a value beyond
/// f16's range, where that is asked for.
void write_safetensors(const ByteSink& sink, const std::string& path, const TensorFile& file,
                       WeightType weights = WeightType::f32);

}  // namespace retort
