// An .onnx file as it stands: nodes, constants, inputs and outputs (https://github.com/onnx/onnx, onnx.proto). What
// they mean is models/graph/onnx.cpp's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/graph/array.h"

namespace retort {

struct OnnxAttribute {
  enum class Kind : std::uint8_t { real, integer, text, tensor, reals, integers, other };
  Kind kind = Kind::other;
  float real = 0;
  std::int64_t integer = 0;
  std::string text;
  Array tensor;
  std::vector<float> reals;
  std::vector<std::int64_t> integers;
};

struct OnnxNode {
  std::string name, op, domain;
  std::vector<std::string> inputs, outputs;  ///< an empty name is an input left out
  std::map<std::string, OnnxAttribute> attributes;
};

/// An input or output of the graph: -1 stands for an extent that the file leaves open.
struct OnnxValue {
  std::string name;
  std::vector<std::int64_t> dims;
};

struct OnnxFile {
  std::string path, producer;
  std::int64_t opset = 0;
  std::vector<OnnxNode> nodes;
  std::map<std::string, Array> constants;
  std::vector<OnnxValue> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

/// Whether a file begins as an ONNX model does: the fields of a ModelProto and nothing else.
bool is_onnx(const std::string& path);

/// Reads weights of float32, float16, bfloat16 and float64, whole numbers of 8 to 64 bits, and data beside the file,
/// by plain name. Throws Error, its message beginning with the file and naming node or tensor: what is no ONNX or is
/// cut short, extents that overflow or disagree with the data, a location with a folder or a link, an opset below 11 or
/// above 23, tensors of other types.
OnnxFile read_onnx(const std::string& path);

}  // namespace retort
