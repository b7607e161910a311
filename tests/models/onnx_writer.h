// ONNX files as a test wants them, byte by byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace retort::test::onnx {

inline std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes + static_cast<char>(value);
}
inline std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
inline std::string bytes(int field, const std::string& content) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(content.size()) + content;
}
template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

using Dims = std::vector<std::int64_t>;

inline std::string tensor(const std::string& name, const Dims& dims, int type, const std::string& content) {
  std::string message;
  for (const std::int64_t dim : dims) message += number(1, static_cast<std::uint64_t>(dim));
  return message + number(2, static_cast<std::uint64_t>(type)) + bytes(8, name) + bytes(9, content);
}
inline std::string floats(const std::string& name, const Dims& dims, const std::vector<float>& values) {
  return tensor(name, dims, 1, raw(values));
}
inline std::string integers(const std::string& name, const std::vector<std::int64_t>& values) {
  return tensor(name, {static_cast<std::int64_t>(values.size())}, 7, raw(values));
}

inline std::string attribute(const std::string& name, std::int64_t value) {
  return bytes(5, bytes(1, name) + number(3, static_cast<std::uint64_t>(value)) + number(20, 2));
}
inline std::string attribute(const std::string& name, const std::vector<std::int64_t>& values) {
  std::string message = bytes(1, name);
  for (const std::int64_t value : values) message += number(8, static_cast<std::uint64_t>(value));
  return bytes(5, message + number(20, 7));
}

inline std::string node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const std::string& attributes = "") {
  std::string message;
  for (const std::string& input : inputs) message += bytes(1, input);
  for (const std::string& output : outputs) message += bytes(2, output);
  return message + bytes(3, "the_" + op) + bytes(4, op) + attributes;
}

/// An input or output; an extent below 1 is left open.
inline std::string value(const std::string& name, const Dims& dims) {
  std::string shape;
  for (const std::int64_t dim : dims)
    shape += bytes(1, dim < 1 ? bytes(2, "n") : number(1, static_cast<std::uint64_t>(dim)));
  return bytes(1, name) + bytes(2, bytes(1, number(1, 1) + bytes(2, shape)));
}

struct Model {
  std::vector<std::string> nodes, tensors;
  std::string input = value("image", {-1, 2, 4, 4}), output = value("logits", {-1, 3});
  std::uint64_t opset = 17;
  std::vector<std::pair<std::string, std::string>> metadata;

  std::string file() const {
    std::string graph;
    for (const std::string& node : nodes) graph += bytes(1, node);
    for (const std::string& tensor : tensors) graph += bytes(5, tensor);
    graph += bytes(11, input) + bytes(12, output);
    std::string model = number(1, 8) + bytes(2, "test") + bytes(7, graph) + bytes(8, number(2, opset));
    for (const auto& [key, text] : metadata) model += bytes(14, bytes(1, key) + bytes(2, text));
    return model;
  }
};

}  // namespace retort::test::onnx
