#include "engine/io/score_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/extents.h"
#include "engine/io/file.h"
#include "engine/io/half.h"
#include "engine/io/npy_header.h"

namespace retort {
namespace {

template <class Number>
Number number_at(const std::uint8_t* at, bool big_endian) {
  std::uint8_t bytes[sizeof(Number)];
  std::copy_n(at, sizeof(Number), bytes);
  if (big_endian) std::reverse(std::begin(bytes), std::end(bytes));
  Number value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

float score_at(const std::uint8_t* at, std::size_t width, bool big_endian) {
  if (width == 2) return from_half(number_at<std::uint16_t>(at, big_endian));
  if (width == 4) return number_at<float>(at, big_endian);
  return static_cast<float>(number_at<double>(at, big_endian));
}

}  // namespace

Tensor read_score_table(const std::string& path) {
  const InputFile file(path);
  const NpyHeader header = read_npy_header(file, path);
  const std::string& descr = header.descr;
  check(descr.size() == 3 && descr[1] == 'f' && std::string("248").find(descr[2]) != std::string::npos, path,
        ": dtype '", descr, "', expected scores as float16, float32 or float64; save x.astype('<f4')");
  const Shape shape = shape_from_file(header.shape, path + ": ");
  check(shape.rank() == 2, path, ": holds an array of shape ", shape, ", expected scores as [images, classes]");
  const auto width = static_cast<std::size_t>(descr[2] - '0');
  const std::uint64_t expected = static_cast<std::uint64_t>(shape.count()) * width;
  const std::uint64_t found = file.size() - header.data_at;
  check(found == expected, path, found < expected ? ": cut short: " : ": too long: ", found,
        " bytes of data, but shape ", shape, " of '", descr, "' takes ", expected, "; write or copy it again");
  Tensor table = Tensor::empty(shape);  // before the bytes: it heeds the limit of memory
  std::vector<std::uint8_t> bytes(expected);
  file.read(header.data_at, bytes);
  const std::int64_t rows = shape[0], columns = shape[1];
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t at = header.fortran_order ? column * rows + row : row * columns + column;
      table.data<float>()[row * columns + column] =
          score_at(&bytes[static_cast<std::size_t>(at) * width], width, descr[0] == '>');
    }
  return table;
}

}  // namespace retort
