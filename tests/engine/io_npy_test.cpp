#include "engine/io/npy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::raw;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

std::string npy(const std::string& literal, const std::string& data, char version = 1) {
  std::string content = "\x93NUMPY";
  content += version;
  content += '\0';
  content +=
      version == 1 ? raw(static_cast<std::uint16_t>(literal.size())) : raw(static_cast<std::uint32_t>(literal.size()));
  return content + literal + data;
}

std::string literal(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

/// What reading such a file throws, its path replaced by FILE.
std::string refusal(const std::string& bytes) {
  const Scratch scratch;
  const std::string path = scratch.write("file.npy", bytes);
  std::string message = error_message([&] { read_npy(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
  return message;
}

std::string data_of(const Tensor& tensor) { return {static_cast<const char*>(tensor.raw()), tensor.bytes()}; }

}  // namespace

TEST_CASE("arrays come back to the bit: every rank, an empty one, every dtype") {
  const Scratch scratch;
  const std::string path = scratch / "x.npy";
  const std::vector<Tensor> tensors = {
      Tensor::from<float>({}, std::vector<float>{0.1f}),
      Tensor::from<float>({3}, std::vector<float>{NAN, -0.f, 1e-45f}),
      Tensor::from<double>({2, 1}, std::vector<double>{0.1, -1e300}),
      Tensor::from<std::int64_t>({1, 2, 1}, std::vector<std::int64_t>{-(1LL << 60), 7}),
      Tensor::from<float>({1, 2, 1, 2}, std::vector<float>{1, 2, 3, 4}),
      Tensor::empty({0, 5}),
  };
  for (const Tensor& tensor : tensors) {
    write_npy(path, tensor);
    const Tensor back = read_npy(path);
    CHECK(back.shape() == tensor.shape());
    CHECK(back.dtype() == tensor.dtype());
    CHECK(data_of(back) == data_of(tensor));
    CHECK_FALSE(is_pickled_npy(path));
  }
}

TEST_CASE("the bytes are NumPy's: header padded to 64, version 1.0") {
  const Scratch scratch;
  write_npy(scratch / "x.npy", Tensor::from<float>({2}, std::vector<float>{1, 2}));
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  header.append(128 - 10 - 1 - header.size(), ' ');
  CHECK(read_text(scratch / "x.npy") == npy(header + "\n", raw(1.f) + raw(2.f)));
}

TEST_CASE("versions 1 to 3, 4-byte integers widened, and what else a header may look like") {
  const Scratch scratch;
  const std::string data = raw<std::int32_t>(-5) + raw<std::int32_t>(1 << 30);
  for (const char version : {1, 2, 3}) {
    const Tensor x = read_npy(scratch.write("x.npy", npy(literal("<i4", "(2,)"), data, version)));
    CHECK(x.dtype() == DType::i64);
    CHECK(x.data<std::int64_t>()[0] == -5);
    CHECK(x.data<std::int64_t>()[1] == 1 << 30);
  }
  const std::string unusual = "{\"shape\":(2L,1),'descr':'<f4','fortran_order':False}";
  CHECK(read_npy(scratch.write("x.npy", npy(unusual, raw(1.f) + raw(2.f)))).shape() == Shape{2, 1});
}

TEST_CASE("a .npy of another dtype, order, version or size is refused") {
  const std::string eight(8, '\0');
  CHECK(refusal(npy(literal("<f2", "(4,)"), eight)) ==
        "FILE: dtype '<f2', expected '<f4', '<f8', '<i8' or '<i4'; save x.astype('<f4')");
  CHECK(refusal(npy(literal("|u1", "(8,)"), eight)).starts_with("FILE: dtype '|u1', expected"));
  CHECK(refusal(npy(literal(">f4", "(2,)"), eight)) ==
        "FILE: dtype '>f4' is big-endian, expected little-endian; save x.astype('<f4')");
  CHECK(
      refusal(npy(literal("|O", "()"), "N.")) ==
      "FILE: holds pickled Python objects, expected a plain array; give it as --logits if it is a dict of logits, else "
      "save the array alone");
  CHECK(refusal(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", eight)) ==
        "FILE: has a structured dtype, expected float32, float64 or int64; save one field");
  CHECK(refusal(npy(literal("<f4", "(1, 2)", "True"), eight)) ==
        "FILE: Fortran order, expected C order; save numpy.ascontiguousarray(x)");
  CHECK(refusal(npy(literal("<f4", "(2,)"), eight, 4)) ==
        "FILE: .npy version 4.0, expected 1.0, 2.0 or 3.0; write it again with numpy.save");
  CHECK(refusal(npy(literal("<f4", "(3,)"), eight)) ==
        "FILE: cut short: 8 bytes of data, but shape [3] of '<f4' takes 12; write or copy it again");
  CHECK(refusal(npy(literal("<f4", "(1,)"), eight)) ==
        "FILE: too long: 8 bytes of data, but shape [1] of '<f4' takes 4; write or copy it again");
  CHECK(refusal(npy(literal("<f4", "(2,1,1,1,1)"), eight)) ==
        "FILE: has 5 axes, expected at most 4; reshape it before saving");
  CHECK(refusal(npy(literal("<f4", "(4294967296, 4294967296, 2)"), eight))
            .starts_with("FILE: has a shape that overflows"));
  CHECK(refusal("").starts_with("FILE: not a .npy file"));
  CHECK(refusal(std::string(100, 'x')).starts_with("FILE: not a .npy file"));
  const Scratch scratch;
  CHECK(error_message([&] { read_npy(scratch / "none"); }).find("No such file") != std::string::npos);
}

TEST_CASE("a malformed header is refused") {
  for (const char* header :
       {"", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'more': 1}", "{'descr': '<f4",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"}) {
    INFO(header);
    CHECK(refusal(npy(header, raw(1.f))).starts_with("FILE: malformed .npy header near '"));
  }
}

TEST_CASE("every truncation of a file is refused") {
  const Scratch scratch;
  for (const char version : {1, 2}) {
    const std::string whole = npy(literal("<f4", "(2,)"), raw(1.f) + raw(2.f), version);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      INFO(size);
      CHECK(refusal(whole.substr(0, size)).starts_with("FILE: "));
    }
  }
}
