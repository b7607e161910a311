#include "models/graph/onnx_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/protobuf.h"

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = ProtoField::Wire;

constexpr std::int64_t kOldestOpset = 11, kNewestOpset = 23;
constexpr std::size_t kMaxRank = 16, kMaxNodes = 1 << 16;

/// TensorProto.DataType
enum class Type : std::uint8_t {
  f32 = 1,
  u8 = 2,
  i8 = 3,
  i32 = 6,
  i64 = 7,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  bf16 = 16
};

/// What a name from a file looks like in a message: one line, not too long.
std::string shown(std::string_view name) {
  std::string result(name.substr(0, 80));
  for (char& c : result)
    if (c < ' ' || c > '~') c = '?';
  return name.size() > 80 ? result + "..." : result;
}

std::string string_of(const ProtoField& field) { return std::string(field.text()); }

template <class T>
T read_as(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Appends a repeated field's values: one, or packed.
void append_integers(const ProtoField& field, const std::string& where, std::vector<std::int64_t>& to) {
  if (field.wire == Wire::varint) {
    to.push_back(field.integer());
    return;
  }
  check(field.wire == Wire::bytes, where, ": whole numbers of another form; export the model again");
  for (std::size_t i = 0; i < field.bytes.size();) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      check(i < field.bytes.size() && shift < 64, where,
            ": a list of whole numbers is cut short; export the model again");
      const std::uint8_t byte = field.bytes[i++];
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) break;
    }
    to.push_back(static_cast<std::int64_t>(value));
  }
}

template <class T>
void append_fixed(const ProtoField& field, const std::string& where, std::vector<float>& to) {
  if (field.wire == (sizeof(T) == 4 ? Wire::fixed32 : Wire::fixed64)) {
    std::uint8_t bytes[8];
    std::memcpy(bytes, &field.value, sizeof bytes);
    to.push_back(static_cast<float>(read_as<T>(bytes)));
    return;
  }
  check(field.wire == Wire::bytes && field.bytes.size() % sizeof(T) == 0, where,
        ": a list of numbers is cut short; export the model again");
  for (std::size_t i = 0; i < field.bytes.size(); i += sizeof(T))
    to.push_back(static_cast<float>(read_as<T>(field.bytes.data() + i)));
}

float bf16_to_float(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  return read_as<float>(reinterpret_cast<const std::uint8_t*>(&wide));
}

class Reader {
 public:
  explicit Reader(const std::string& path) : bytes_(read_file(path)) { file_.path = path; }

  OnnxFile read() {
    const std::string where = file_.path;
    ProtoReader model(bytes_, where);
    Bytes graph;
    bool has_graph = false;
    for (ProtoField field; model.next(field);) {
      if (field.number == 2) file_.producer = string_of(field);
      if (field.number == 7 && field.wire == Wire::bytes) {
        graph = field.bytes;
        has_graph = true;
      }
      if (field.number == 8) read_opset(field.bytes);
      if (field.number == 14) read_pair(field.bytes, file_.metadata);
    }
    check(has_graph, where, ": holds no graph, expected an ONNX model; export it again");
    check(file_.opset >= kOldestOpset && file_.opset <= kNewestOpset, where, ": is of opset ", file_.opset,
          ", expected ", kOldestOpset, " to ", kNewestOpset, "; export it with another opset_version");
    read_graph(graph);
    return std::move(file_);
  }

 private:
  std::string where(std::string_view what, std::string_view name) const {
    return text(file_.path, ": ", what, " ", name.empty() ? "without a name" : shown(name));
  }

  void read_opset(Bytes bytes) {
    std::string domain;
    std::int64_t version = 0;
    ProtoReader reader(bytes, file_.path);
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) domain = string_of(field);
      if (field.number == 2) version = field.integer();
    }
    if (domain.empty() || domain == "ai.onnx") file_.opset = version;
  }

  void read_pair(Bytes bytes, std::map<std::string, std::string>& to) {
    std::string key, value;
    ProtoReader reader(bytes, file_.path);
    for (ProtoField field; reader.next(field);) (field.number == 1 ? key : value) = string_of(field);
    to[key] = value;
  }

  void read_graph(Bytes bytes) {
    ProtoReader reader(bytes, file_.path);
    for (ProtoField field; reader.next(field);) {
      if (field.wire != Wire::bytes) continue;
      switch (field.number) {
        case 1:
          check(file_.nodes.size() < kMaxNodes, file_.path, ": more than ", kMaxNodes,
                " nodes, expected a classifier; export it again");
          file_.nodes.push_back(node_of(field.bytes));
          break;
        case 5: {
          std::string name;
          Array array = tensor_of(field.bytes, name);
          check(!name.empty() && file_.constants.emplace(name, std::move(array)).second, where("tensor", name),
                ": stands in the file twice, expected one of each name; export the model again");
          break;
        }
        case 11: file_.inputs.push_back(value_of(field.bytes)); break;
        case 12: file_.outputs.push_back(value_of(field.bytes)); break;
        case 15: throw Error(text(file_.path, ": has sparse weights, expected dense ones; export it without"));
        default: break;
      }
    }
  }

  OnnxNode node_of(Bytes bytes) {
    OnnxNode node;
    ProtoReader reader(bytes, file_.path);
    std::vector<Bytes> attributes;
    for (ProtoField field; reader.next(field);) {
      if (field.wire != Wire::bytes) continue;
      if (field.number == 1) node.inputs.push_back(string_of(field));
      if (field.number == 2) node.outputs.push_back(string_of(field));
      if (field.number == 3) node.name = string_of(field);
      if (field.number == 4) node.op = string_of(field);
      if (field.number == 5) attributes.push_back(field.bytes);
      if (field.number == 7) node.domain = string_of(field);
    }
    if (node.name.empty() && !node.outputs.empty()) node.name = node.outputs[0];
    for (const Bytes attribute : attributes) read_attribute(attribute, node);
    return node;
  }

  void read_attribute(Bytes bytes, OnnxNode& node) {
    const std::string where = this->where("node", node.name);
    std::string name;
    OnnxAttribute attribute;
    using Kind = OnnxAttribute::Kind;
    ProtoReader reader(bytes, where);
    for (ProtoField field; reader.next(field);) switch (field.number) {
        case 1: name = string_of(field); break;
        case 2:
          attribute.kind = Kind::real;
          attribute.real = field.real();
          break;
        case 3:
          attribute.kind = Kind::integer;
          attribute.integer = field.integer();
          break;
        case 4:
          attribute.kind = Kind::text;
          attribute.text = string_of(field);
          break;
        case 5: {
          std::string unused;
          attribute.kind = Kind::tensor;
          attribute.tensor = tensor_of(field.bytes, unused);
          break;
        }
        case 7:
          attribute.kind = Kind::reals;
          append_fixed<float>(field, where, attribute.reals);
          break;
        case 8:
          attribute.kind = Kind::integers;
          append_integers(field, where, attribute.integers);
          break;
        default: break;
      }
    node.attributes[name] = std::move(attribute);
  }

  OnnxValue value_of(Bytes bytes) {
    OnnxValue value;
    ProtoReader reader(bytes, file_.path);
    Bytes type;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) value.name = string_of(field);
      if (field.number == 2) type = field.bytes;
    }
    // TypeProto.tensor_type (1).shape (2).dim (1): dim_value (1) or a name
    const Bytes shape = part_of(part_of(type, 1), 2);
    ProtoReader dims(shape, file_.path);
    for (ProtoField field; dims.next(field);) {
      if (field.number != 1 || field.wire != Wire::bytes) continue;
      std::int64_t extent = -1;
      ProtoReader dim(field.bytes, file_.path);
      for (ProtoField part; dim.next(part);)
        if (part.number == 1 && part.wire == Wire::varint) extent = part.integer();
      value.dims.push_back(extent < 1 ? -1 : extent);
      check(value.dims.size() <= kMaxRank, file_.path, ": ", shown(value.name), " has more than ", kMaxRank,
            " axes, expected images; export the model again");
    }
    return value;
  }

  Bytes part_of(Bytes message, std::uint32_t number) {
    Bytes found;
    ProtoReader reader(message, file_.path);
    for (ProtoField field; reader.next(field);)
      if (field.number == number && field.wire == Wire::bytes) found = field.bytes;
    return found;
  }

  Array tensor_of(Bytes bytes, std::string& name) {
    Array array;
    std::uint64_t type = 0;
    Bytes raw;
    bool has_raw = false, outside = false;
    std::vector<std::int64_t> integers;
    std::vector<float> reals;
    std::map<std::string, std::string> location;
    ProtoReader reader(bytes, file_.path);
    for (ProtoField field; reader.next(field);) switch (field.number) {
        case 1: append_integers(field, file_.path, array.dims); break;
        case 2: type = field.value; break;
        case 4: append_fixed<float>(field, file_.path, reals); break;
        case 5:
        case 7: append_integers(field, file_.path, integers); break;
        case 8: name = string_of(field); break;
        case 9:
          raw = field.bytes;
          has_raw = true;
          break;
        case 10: append_fixed<double>(field, file_.path, reals); break;
        case 13: read_pair(field.bytes, location); break;
        case 14: outside = field.value == 1; break;
        default: break;
      }
    const std::string where = this->where("tensor", name);
    const std::int64_t count = checked_count(array.dims);
    check(count >= 0 && array.dims.size() <= kMaxRank, where,
          ": its extents overflow, expected a tensor of weights; export the model again");
    std::vector<std::uint8_t> beside;
    const std::size_t each = size_of_type(type, where);
    if (outside) {
      beside = read_outside(location, static_cast<std::uint64_t>(count) * each, where);
      raw = beside;
      has_raw = true;
    }
    if (has_raw)
      read_raw(raw, type, each, count, where, array);
    else
      take_lists(std::move(integers), std::move(reals), type, count, where, array);
    return array;
  }

  static std::size_t size_of_type(std::uint64_t type, const std::string& where) {
    switch (type) {
      case 1:
      case 6: return 4;
      case 7:
      case 11: return 8;
      case 2:
      case 3:
      case 9: return 1;
      case 10:
      case 16: return 2;
      default:
        throw Error(text(where, ": is of type ", type,
                         ", expected float32, float16 or whole numbers; export the model in float32"));
    }
  }
  static bool is_whole(std::uint64_t type) { return type == 2 || type == 3 || type == 6 || type == 7 || type == 9; }

  static void read_raw(Bytes raw, std::uint64_t type, std::size_t each, std::int64_t count, const std::string& where,
                       Array& array) {
    check(raw.size() / each == static_cast<std::uint64_t>(count) && raw.size() % each == 0, where, ": has ", raw.size(),
          " bytes, expected ", count, " elements of ", each, "; export the model again");
    array.whole = is_whole(type);
    const auto convert = [&]<class T>(T, auto& to, const auto& from) {
      to.reserve(static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) to.push_back(from(read_as<T>(raw.data() + i * sizeof(T))));
    };
    const auto same = [](auto value) { return value; };
    const auto integer = [](auto value) { return static_cast<std::int64_t>(value); };
    switch (static_cast<Type>(type)) {
      case Type::f32: return convert(float{}, array.reals, same);
      case Type::f64: return convert(double{}, array.reals, [](double value) { return static_cast<float>(value); });
      case Type::f16: return convert(std::uint16_t{}, array.reals, half_to_float);
      case Type::bf16: return convert(std::uint16_t{}, array.reals, bf16_to_float);
      case Type::i64: return convert(std::int64_t{}, array.integers, integer);
      case Type::i32: return convert(std::int32_t{}, array.integers, integer);
      case Type::i8: return convert(std::int8_t{}, array.integers, integer);
      case Type::u8:
      case Type::boolean: return convert(std::uint8_t{}, array.integers, integer);
    }
  }

  static void take_lists(std::vector<std::int64_t> integers, std::vector<float> reals, std::uint64_t type,
                         std::int64_t count, const std::string& where, Array& array) {
    array.whole = is_whole(type);
    if (type == 10 || type == 16)  // half precision stands among the integers
      for (const std::int64_t bits : integers)
        reals.push_back((type == 10 ? half_to_float : bf16_to_float)(static_cast<std::uint16_t>(bits)));
    const std::size_t found = array.whole ? integers.size() : reals.size();
    check(found == static_cast<std::uint64_t>(count), where, ": has ", found, " elements, expected ", count,
          "; export the model again");
    (array.whole ? array.reals : reals).clear();
    if (array.whole)
      array.integers = std::move(integers);
    else
      array.reals = std::move(reals);
  }

  /// A tensor's bytes in a file beside the model.
  std::vector<std::uint8_t> read_outside(const std::map<std::string, std::string>& location, std::uint64_t bytes,
                                         const std::string& where) const {
    namespace fs = std::filesystem;
    const auto found = location.find("location");
    const std::string name = found == location.end() ? "" : found->second;
    const bool plain = !name.empty() && name != "." && name != ".." && name.size() < 256 &&
                       name.find_first_of(std::string("/\\\0", 3)) == name.npos;
    check(plain, where, ": its data lie in '", shown(name),
          "', expected a file beside the model; export again and keep both in one folder");
    const fs::path path = fs::path(file_.path).parent_path() / name;
    std::error_code error;
    const fs::file_status status = fs::symlink_status(path, error);
    check(status.type() == fs::file_type::regular, where, ": its data lie in ", shown(path.string()), ", which is ",
          status.type() == fs::file_type::symlink ? "a link" : "not there or no file",
          "; put the file beside the model");
    const auto number = [&](const char* key, std::uint64_t otherwise) {
      const auto entry = location.find(key);
      if (entry == location.end()) return otherwise;
      std::uint64_t value = 0;
      const char* const end = entry->second.data() + entry->second.size();
      const auto [at, failed] = std::from_chars(entry->second.data(), end, value);
      check(failed == std::errc() && at == end, where, ": its data's ", key, " is no number; export the model again");
      return value;
    };
    const std::uint64_t offset = number("offset", 0), length = number("length", bytes);
    const InputFile file(path.string());
    check(length == bytes && offset <= file.size() && length <= file.size() - offset, where, ": ", length,
          " bytes from ", offset, " of ", shown(path.string()), ", which has ", file.size(), ", expected ", bytes,
          "; copy both files again");
    std::vector<std::uint8_t> content(static_cast<std::size_t>(length));
    file.read(offset, content);
    return content;
  }

  std::vector<std::uint8_t> bytes_;
  OnnxFile file_;
};

}  // namespace

bool is_onnx(const std::string& path) {
  const InputFile file(path);
  // Every field of a ModelProto up to its graph fits into the first bytes, or the graph itself begins there.
  std::vector<std::uint8_t> head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 16)));
  file.read(0, head);
  if (head.size() < 8) return false;
  const int number = head[0] >> 3, wire = head[0] & 7;
  switch (number) {
    case 1: return wire == 0 && head[1] >= 3 && head[1] < 32 && (head[2] >> 3) >= 2 && (head[2] >> 3) <= 8;
    case 7:
    case 8: return wire == 2;
    default: return false;
  }
}

OnnxFile read_onnx(const std::string& path) { return Reader(path).read(); }

}  // namespace retort
