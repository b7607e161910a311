#include "engine/io/npy.h"

#include <algorithm>
#include <bit>

#include "engine/core/check.h"
#include "engine/io/extents.h"
#include "engine/io/file.h"
#include "engine/io/npy_header.h"

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie");

DType parse_descr(const std::string& descr, const std::string& path) {
  if (descr == "<f4") return DType::f32;
  if (descr == "<f8") return DType::f64;
  if (descr == "<i8") return DType::i64;
  if (descr == "<i4") return DType::i32;
  check(descr != "|O", path,
        ": holds pickled Python objects, expected a plain array; give it as --logits if it is a "
        "dict of logits, else save the array alone");
  check(!descr.starts_with('>'), path, ": dtype '", descr, "' is big-endian, expected little-endian; save x.astype('<",
        descr.substr(1), "')");
  throw Error(text(path, ": dtype '", descr, "', expected '<f4', '<f8', '<i8' or '<i4'; save x.astype('<f4')"));
}

std::span<std::uint8_t> bytes_of(const Tensor& tensor) {
  return {static_cast<std::uint8_t*>(tensor.raw()), tensor.bytes()};
}

}  // namespace

Tensor read_npy(const std::string& path) {
  const InputFile file(path);
  const NpyHeader header = read_npy_header(file, path);
  const DType dtype = parse_descr(header.descr, path);
  check(!header.fortran_order, path, ": Fortran order, expected C order; save numpy.ascontiguousarray(x)");
  const Shape shape = shape_from_file(header.shape, path + ": ");
  const std::uint64_t expected = static_cast<std::uint64_t>(shape.count()) * size_of(dtype);
  const std::uint64_t found = file.size() - header.data_at;
  check(found == expected, path, found < expected ? ": cut short: " : ": too long: ", found,
        " bytes of data, but shape ", shape, " of '", header.descr, "' takes ", expected, "; write or copy it again");
  Tensor tensor = Tensor::empty(shape, dtype);
  file.read(header.data_at, bytes_of(tensor));
  if (dtype != DType::i32) return tensor;
  Tensor wide = Tensor::empty(shape, DType::i64);
  std::ranges::copy(tensor.span<std::int32_t>(), wide.data<std::int64_t>());
  return wide;
}

void write_npy_header(const ByteSink& sink, const std::string& descr, const Shape& shape) {
  std::string extents;
  for (int axis = 0; axis < shape.rank(); ++axis) extents += text(axis ? ", " : "", shape[axis]);
  if (shape.rank() == 1) extents += ',';
  std::string literal = text("{'descr': ", descr, ", 'fortran_order': False, 'shape': (", extents, "), }");
  constexpr std::size_t kPreamble = 10, kAlignment = 64;
  literal.append((kAlignment - (kPreamble + literal.size() + 1) % kAlignment) % kAlignment, ' ');
  literal += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(literal.size() & 255);
  header += static_cast<char>(literal.size() >> 8);
  header += literal;
  sink({reinterpret_cast<const std::uint8_t*>(header.data()), header.size()});
}

void write_npy(const ByteSink& sink, const Tensor& tensor, const std::string& path) {
  const char* descr = "'<i4'";
  switch (tensor.dtype()) {
    case DType::f32: descr = "'<f4'"; break;
    case DType::f64: descr = "'<f8'"; break;
    case DType::i64: descr = "'<i8'"; break;
    case DType::i32: break;
    case DType::u8: descr = "'|u1'"; break;
    case DType::i8: descr = "'|i1'"; break;
    case DType::bf16: throw Error(text(path, ": NumPy has no bf16; convert to f32 first"));
  }
  write_npy_header(sink, descr, tensor.shape());
  sink(bytes_of(tensor));
}

void write_npy(const std::string& path, const Tensor& tensor) {
  write_atomic(path, [&](const ByteSink& sink) { write_npy(sink, tensor, path); });
}

bool is_pickled_npy(const std::string& path) {
  const InputFile file(path);
  return read_npy_header(file, path, /*structured=*/true).descr == "|O";
}

}  // namespace retort
