#include "engine/io/score_table.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "engine/core/check.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::Scratch;

namespace {

std::string npy(const std::string& descr, bool fortran, const std::string& shape, const std::string& data) {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape + ", }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  return file + header + data;
}

template <class Number>
std::string bytes(std::vector<Number> values, bool big_endian = false) {
  std::string all;
  for (const Number value : values) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    std::string word(raw, sizeof value);
    if (big_endian) std::reverse(word.begin(), word.end());
    all += word;
  }
  return all;
}

std::vector<float> values_of(const Tensor& table) {
  const std::span<const float> values = table.span<float>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("score tables: C and Fortran order, three widths, both ends") {
  const Scratch scratch;
  const std::vector<float> expected = {1, 2, 3, -4, 0.5f, 6};  // [2, 3]
  const std::vector<double> columns = {1, -4, 2, 0.5, 3, 6};
  const auto read = [&](const std::string& content) { return read_score_table(scratch.write("x.npy", content)); };
  CHECK(values_of(read(npy("<f4", false, "(2, 3)", bytes<float>(expected)))) == expected);
  CHECK(values_of(read(npy("<f8", true, "(2, 3)", bytes<double>(columns)))) == expected);
  CHECK(values_of(read(npy(">f4", false, "(2, 3)", bytes<float>(expected, true)))) == expected);
  CHECK(read(npy("<f8", true, "(2, 3)", bytes<double>(columns))).shape() == Shape{2, 3});
  // IEEE binary16: 1, 2, 3, -4, 0.5, 6.
  const std::vector<std::uint16_t> halves = {0x3c00, 0x4000, 0x4200, 0xc400, 0x3800, 0x4600};
  CHECK(values_of(read(npy("<f2", false, "(2, 3)", bytes<std::uint16_t>(halves)))) == expected);
  const std::vector<std::uint16_t> edges = {0x0001, 0x7bff, 0x8000, 0x7c00};  // smallest, largest, -0, infinity
  const std::vector<float> wide = values_of(read(npy("<f2", false, "(2, 2)", bytes<std::uint16_t>(edges))));
  CHECK(wide == std::vector<float>{std::ldexp(1.f, -24), 65504, -0.f, INFINITY});
}

TEST_CASE("score tables: what is none is refused") {
  const Scratch scratch;
  const auto refusal = [&](const std::string& content) {
    const std::string path = scratch.write("x.npy", content);
    std::string message = error_message([&] { read_score_table(path); });
    return message.starts_with(path) ? message.substr(path.size()) : message;
  };
  CHECK(refusal(npy("<i8", false, "(1, 2)", std::string(16, '\0'))) ==
        ": dtype '<i8', expected scores as float16, float32 or float64; save x.astype('<f4')");
  CHECK(refusal(npy("<f4", false, "(4,)", std::string(16, '\0'))).starts_with(": holds an array of shape [4]"));
  CHECK(refusal(npy("<f4", false, "(2, 3)", std::string(20, '\0'))).starts_with(": cut short: 20 bytes of data"));
}
