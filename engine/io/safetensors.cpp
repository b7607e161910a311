// The format: https://github.com/huggingface/safetensors#format
#include "engine/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "engine/core/check.h"
#include "engine/core/parallel.h"
#include "engine/io/extents.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kAgain = "; write or download the file again";

enum class FileDType { f32, f64, i64, f16, bf16, i8 };

FileDType parse_dtype(const std::string& dtype, const std::string& where) {
  if (dtype == "F32") return FileDType::f32;
  if (dtype == "F64") return FileDType::f64;
  if (dtype == "I64") return FileDType::i64;
  if (dtype == "F16") return FileDType::f16;
  if (dtype == "BF16") return FileDType::bf16;
  if (dtype == "I8") return FileDType::i8;
  throw Error(text(where, "has dtype ", dtype, ", expected F32, F64, F16, BF16, I64 or I8; convert it before saving"));
}

std::uint64_t bytes_of(FileDType dtype) {
  switch (dtype) {
    case FileDType::f32: return 4;
    case FileDType::f64:
    case FileDType::i64: return 8;
    case FileDType::i8: return 1;
    case FileDType::f16:
    case FileDType::bf16: break;
  }
  return 2;
}

struct Entry {
  std::string name;
  FileDType dtype;
  Shape shape;
  std::uint64_t begin, end;
};

Shape parse_shape(const json& extents, const std::string& where) {
  check(extents.is_array(), where, "has no list as its shape", kAgain);
  std::vector<std::int64_t> sizes;
  for (const json& extent : extents) {
    check(extent.is_number_unsigned() && extent.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max(), where,
          "has shape ", extents.dump(), ", which is no list of sizes", kAgain);
    sizes.push_back(extent.get<std::int64_t>());
  }
  return shape_from_file(sizes, where);
}

Entry parse_entry(const std::string& name, const json& fields, const std::string& where) {
  check(fields.is_object() && fields.contains("dtype") && fields["dtype"].is_string() && fields.contains("shape") &&
            fields.contains("data_offsets"),
        where, "lacks dtype, shape or data_offsets", kAgain);
  const json& offsets = fields["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        where, "has data_offsets ", offsets.dump(), ", expected [begin, end]", kAgain);
  Entry entry{name, parse_dtype(fields["dtype"].get<std::string>(), where), parse_shape(fields["shape"], where),
              offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
  const auto bytes = static_cast<std::uint64_t>(entry.shape.count()) * bytes_of(entry.dtype);
  check(entry.begin <= entry.end && entry.end - entry.begin == bytes, where, "has data_offsets ", offsets.dump(),
        ", but shape ", entry.shape, " takes ", bytes, " bytes", kAgain);
  return entry;
}

/// IEEE binary16 to binary32, exactly.
float from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = (half >> 10) & 31, fraction = half & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t rebiased = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | rebiased << 23 | fraction << 13);
}

/// bfloat16 is the upper half of a binary32.
float from_bfloat(std::uint16_t upper) { return std::bit_cast<float>(static_cast<std::uint32_t>(upper) << 16); }

std::span<std::uint8_t> bytes_of(const Tensor& tensor) {
  return {static_cast<std::uint8_t*>(tensor.raw()), tensor.bytes()};
}

/// Of the tensor in memory.
DType dtype_of(FileDType dtype) {
  switch (dtype) {
    case FileDType::f64: return DType::f64;
    case FileDType::i64: return DType::i64;
    case FileDType::i8: return DType::i8;
    case FileDType::f32:
    case FileDType::f16:
    case FileDType::bf16: break;
  }
  return DType::f32;
}

/// The elements [begin, end) of a tensor, small enough to be read by one thread while others read others.
struct Piece {
  std::size_t entry;
  std::int64_t begin, end;
};

std::vector<Piece> pieces_of(const std::vector<Entry>& entries) {
  constexpr std::int64_t kElements = 1 << 21;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < entries.size(); ++i)
    for (std::int64_t begin = 0; begin < entries[i].shape.count(); begin += kElements)
      pieces.push_back({i, begin, std::min(entries[i].shape.count(), begin + kElements)});
  return pieces;
}

/// Reads a piece of the tensor whose elements begin at `offset` of the file.
void read_piece(const InputFile& file, std::uint64_t offset, FileDType dtype, const Piece& piece,
                const Tensor& tensor) {
  const auto count = static_cast<std::size_t>(piece.end - piece.begin);
  offset += static_cast<std::uint64_t>(piece.begin) * bytes_of(dtype);
  if (dtype == FileDType::f16 || dtype == FileDType::bf16) {
    std::vector<std::uint16_t> raw(count);
    file.read(offset, {reinterpret_cast<std::uint8_t*>(raw.data()), count * sizeof raw[0]});
    std::transform(raw.begin(), raw.end(), tensor.data<float>() + piece.begin,
                   dtype == FileDType::f16 ? from_half : from_bfloat);
    return;
  }
  const std::size_t size = bytes_of(dtype);
  file.read(offset, bytes_of(tensor).subspan(static_cast<std::size_t>(piece.begin) * size, count * size));
}

const char* file_dtype(const Tensor& tensor, const std::string& where) {
  switch (tensor.dtype()) {
    case DType::f32: return "F32";
    case DType::f64: return "F64";
    case DType::i64: return "I64";
    case DType::i8: return "I8";
    case DType::u8:
    case DType::i32:
    case DType::bf16: break;
  }
  throw Error(text(where, "is ", to_string(tensor.dtype()), ", expected f32, f64, i64 or i8; convert it"));
}

/// A JSON string.
std::string quoted(const std::string& value, const std::string& path) {
  try {
    return json(value).dump();
  } catch (const json::exception&) {
    throw Error(text(path, ": cannot write '", value, "', which is not UTF-8; rename it"));
  }
}

}  // namespace

const Tensor* TensorFile::find(const std::string& name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

namespace {

/// The header as the file has it, checked as far as its place in the file goes.
struct RawHeader {
  std::uint64_t bytes = 0;
  json fields;
};

RawHeader read_header(const InputFile& input, const std::string& path) {
  std::uint64_t header_bytes = 0;
  check(input.size() > sizeof header_bytes, path, ": not a safetensors file: only ", input.size(), " bytes", kAgain);
  input.read(0, {reinterpret_cast<std::uint8_t*>(&header_bytes), sizeof header_bytes});
  check(header_bytes <= kMaxHeaderBytes, path, ": not a safetensors file: its header would have ", header_bytes,
        " bytes, more than ", kMaxHeaderBytes, kAgain);
  check(header_bytes <= input.size() - sizeof header_bytes, path, ": cut short: the header has ", header_bytes,
        " bytes, the file ", input.size(), kAgain);
  std::string header(header_bytes, '\0');
  input.read(sizeof header_bytes, {reinterpret_cast<std::uint8_t*>(header.data()), header.size()});
  check(header.starts_with('{'), path, ": not a safetensors file: its header does not begin with {", kAgain);
  return {header_bytes, parse_json(header, path + ": not a safetensors file: its header ", kAgain)};
}

std::map<std::string, std::string> parse_metadata(const json& value, const std::string& path) {
  check(value.is_object(), path, ": ", kMetadata, " is no object", kAgain);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, datum] : value.items()) {
    check(datum.is_string(), path, ": ", kMetadata, " '", key, "' is no string", kAgain);
    metadata.emplace(key, datum.get<std::string>());
  }
  return metadata;
}

}  // namespace

std::map<std::string, std::string> read_safetensors_metadata(const std::string& path) {
  const InputFile input(path);
  const RawHeader header = read_header(input, path);
  const auto found = header.fields.find(kMetadata);
  if (found == header.fields.end()) return {};
  return parse_metadata(*found, path);
}

TensorFile read_safetensors(const std::string& path) {
  const InputFile input(path);
  const auto [header_bytes, fields] = read_header(input, path);
  TensorFile file;
  std::vector<Entry> entries;
  for (const auto& [name, value] : fields.items()) {
    if (name == kMetadata) {
      file.metadata = parse_metadata(value, path);
    } else {
      entries.push_back(parse_entry(name, value, text(path, ": tensor '", name, "' ")));
    }
  }

  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  const std::uint64_t data_at = sizeof header_bytes + header_bytes, data_bytes = input.size() - data_at;
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    check(entry.begin == covered, path, ": tensor '", entry.name, "' begins at byte ", entry.begin, ", ",
          entry.begin < covered ? "overlapping the one before" : "leaving a gap after the one before",
          ", which ends at ", covered, kAgain);
    covered = entry.end;
  }
  check(covered == data_bytes, path, covered > data_bytes ? ": cut short: " : ": too long: ", "the header describes ",
        covered, " bytes of data, the file has ", data_bytes, kAgain);
  for (const Entry& entry : entries)
    file.tensors.emplace_back(entry.name, Tensor::empty(entry.shape, dtype_of(entry.dtype)));
  const std::vector<Piece> pieces = pieces_of(entries);
  parallel_each(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t index) {
    const Piece& piece = pieces[static_cast<std::size_t>(index)];
    const Entry& entry = entries[piece.entry];
    read_piece(input, data_at + entry.begin, entry.dtype, piece, file.tensors[piece.entry].second);
  });
  return file;
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  std::string header = "{";
  const auto separate = [&] {
    if (header.size() > 1) header += ',';
  };
  if (!file.metadata.empty()) {
    header += text('"', kMetadata, "\":{");
    for (const auto& [key, value] : file.metadata)
      header += text(header.back() == '{' ? "" : ",", quoted(key, path), ':', quoted(value, path));
    header += '}';
  }
  std::uint64_t offset = 0;
  std::set<std::string> names = {kMetadata};
  for (const auto& [name, tensor] : file.tensors) {
    const std::string where = text(path, ": tensor '", name, "' ");
    check(names.insert(name).second, where, "would be written twice; give it another name");
    separate();
    header += text(quoted(name, path), ":{\"dtype\":\"", file_dtype(tensor, where), "\",\"shape\":[");
    for (int axis = 0; axis < tensor.shape().rank(); ++axis) header += text(axis ? "," : "", tensor.shape()[axis]);
    header += text("],\"data_offsets\":[", offset, ',', offset + tensor.bytes(), "]}");
    offset += tensor.bytes();
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');  // the data begins at a multiple of 8

  const std::uint64_t header_bytes = header.size();
  write_atomic(path, [&](const ByteSink& sink) {
    sink({reinterpret_cast<const std::uint8_t*>(&header_bytes), sizeof header_bytes});
    sink({reinterpret_cast<const std::uint8_t*>(header.data()), header.size()});
    for (const auto& [name, tensor] : file.tensors) sink(bytes_of(tensor));
  });
}

}  // namespace retort
