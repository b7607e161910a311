#include "engine/io/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>

#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::raw;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

constexpr const char* kAgain = "; write or download the file again";

std::string content(const std::string& header, const std::string& data = "") {
  return raw<std::uint64_t>(header.size()) + header + data;
}

/// A header entry.
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// What reading such a file throws, its path replaced by FILE.
std::string refusal(const std::string& bytes) {
  const Scratch scratch;
  const std::string path = scratch.write("file", bytes);
  std::string message = error_message([&] { read_safetensors(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
  return message;
}

std::string data_of(const Tensor& tensor) { return {static_cast<const char*>(tensor.raw()), tensor.bytes()}; }

}  // namespace

TEST_CASE("tensors and metadata come back to the bit, in order") {
  const Scratch scratch;
  const float inf = std::numeric_limits<float>::infinity();
  TensorFile file;
  file.metadata = {{"classes", R"(["cat","\"d,o\"g"])"}, {"architecture", "vgg16"}, {"", "Ä"}};
  file.tensors = {
      {"z.weight", Tensor::from<float>({1, 2, 1, 3}, std::vector<float>{0.1f, -0.0f, inf, 1e-45f, NAN, 3})},
      {"steps", Tensor::from<std::int64_t>({}, std::vector<std::int64_t>{-(1LL << 60)})},
      {"a \"quoted\" name", Tensor::from<double>({2}, std::vector<double>{0.1, 1e300})},
      {"nothing", Tensor::empty({0, 3})},
      {"bias", Tensor::from<float>({1}, std::vector<float>{7})},
  };
  write_safetensors(scratch / "file", file);
  const TensorFile back = read_safetensors(scratch / "file");
  CHECK(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    const auto& [name, tensor] = file.tensors[i];
    CHECK(back.tensors[i].first == name);
    CHECK(back.tensors[i].second.shape() == tensor.shape());
    CHECK(back.tensors[i].second.dtype() == tensor.dtype());
    CHECK(data_of(back.tensors[i].second) == data_of(tensor));
  }
  REQUIRE(back.find("bias"));
  CHECK(back.find("bias")->item() == 7);
  CHECK_FALSE(back.find("weight"));
}

TEST_CASE("the bytes are those of the format: length, padded JSON, data") {
  const Scratch scratch;
  TensorFile file;
  file.tensors = {{"w", Tensor::from<float>({2}, std::vector<float>{1, 2})}};
  write_safetensors(scratch / "file", file);
  std::string header = "{" + entry("w", "F32", "[2]", "[0,8]") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  CHECK(read_text(scratch / "file") == content(header, raw(1.f) + raw(2.f)));
  write_safetensors(scratch / "file", {});
  CHECK(read_text(scratch / "file") == content("{}      "));
  CHECK(read_safetensors(scratch / "file").tensors.empty());
}

TEST_CASE("half and bfloat16 become f32, exactly") {
  const std::vector<std::pair<std::uint16_t, float>> halves = {
      {0x0000, 0.f},      {0x3c00, 1.f},      {0xc000, -2.f},          {0x3555, 0x1.554p-2f}, {0x7bff, 65504.f},
      {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f}, {0x83ff, -0x1.ff8p-15f}, {0x7c00, INFINITY},    {0xfc00, -INFINITY}};
  std::string data;
  for (const auto& [half, value] : halves) data += raw(half);
  const std::vector<std::pair<std::uint16_t, float>> bfloats = {
      {0x0000, 0.f}, {0x3f80, 1.f}, {0xc040, -3.f}, {0x0001, 0x1p-133f}, {0x7f80, INFINITY}};
  for (const auto& [bfloat, value] : bfloats) data += raw(bfloat);
  data += raw<std::uint16_t>(0x8000) + raw<std::uint16_t>(0x7e00);

  const Scratch scratch;
  const std::string header = "{" + entry("h", "F16", "[10]", "[0,20]") + "," + entry("b", "BF16", "[5]", "[20,30]") +
                             "," + entry("special", "F16", "[2]", "[30,34]") + "}";
  const TensorFile file = read_safetensors(scratch.write("file", content(header, data)));
  for (std::size_t i = 0; i < halves.size(); ++i) CHECK(file.find("h")->data<float>()[i] == halves[i].second);
  for (std::size_t i = 0; i < bfloats.size(); ++i) CHECK(file.find("b")->data<float>()[i] == bfloats[i].second);
  CHECK(std::signbit(file.find("special")->data<float>()[0]));
  CHECK(std::isnan(file.find("special")->data<float>()[1]));
}

TEST_CASE("entries may stand in any order in the header; a nameless key and spaces at its end are fine") {
  const Scratch scratch;
  const std::string header =
      "{" + entry("b", "F32", "[1]", "[4,8]") + "," + entry("a", "F32", "[1]", "[0,4]") + R"(,"__metadata__":{}}   )";
  const TensorFile file = read_safetensors(scratch.write("file", content(header, raw(1.f) + raw(2.f))));
  CHECK(file.tensors[0].first == "a");
  CHECK(file.find("b")->item() == 2);
}

TEST_CASE("a file that is too short or no safetensors is refused") {
  CHECK(refusal("") == std::string("FILE: not a safetensors file: only 0 bytes") + kAgain);
  CHECK(refusal("12345678") == std::string("FILE: not a safetensors file: only 8 bytes") + kAgain);
  CHECK(refusal(raw<std::uint64_t>(100'000'001) + "{}") ==
        std::string("FILE: not a safetensors file: its header would have 100000001 bytes, more than 100000000") +
            kAgain);
  CHECK(refusal(raw<std::uint64_t>(~0ull) + "{}").starts_with("FILE: not a safetensors file: its header would have"));
  CHECK(refusal(raw<std::uint64_t>(3) + "{}") ==
        std::string("FILE: cut short: the header has 3 bytes, the file 10") + kAgain);
  CHECK(refusal(content("[]")) ==
        std::string("FILE: not a safetensors file: its header does not begin with {") + kAgain);
  CHECK(refusal(content(" {}")).find("does not begin with {") != std::string::npos);
  for (const char* header : {"{", "{}}", "{\"a\":}", "{\"\xff\":1}", "{'a':1}"})
    CHECK(refusal(content(header)) == std::string("FILE: not a safetensors file: its header is not JSON") + kAgain);
  CHECK(refusal(content("{\"a\":" + std::string(100'000, '['))).find("is nested more than 32 deep") !=
        std::string::npos);
  const Scratch scratch;
  CHECK(error_message([&] { read_safetensors(scratch / "none"); }).find("No such file") != std::string::npos);
}

TEST_CASE("a header that lies is refused") {
  const std::string eight = raw(1.f) + raw(2.f);
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return content("{" + entry("w", dtype, shape, offsets) + "}", std::string(8, '\0'));
  };
  const auto says = [](const std::string& message, const std::string& part) {
    INFO(message);
    CHECK(message.starts_with("FILE: "));
    CHECK(message.find(part) != std::string::npos);
    CHECK(message.find("; ") != std::string::npos);
  };
  says(refusal(one("F32", "[3]", "[0,8]")), "tensor 'w' has data_offsets [0,8], but shape [3] takes 12 bytes");
  says(refusal(one("F32", "[2]", "[8,0]")), "tensor 'w' has data_offsets [8,0], but shape [2] takes 8 bytes");
  says(refusal(one("F32", "[1]", "[0,4]")), "too long: the header describes 4 bytes of data, the file has 8");
  says(refusal(one("F32", "[3]", "[0,12]")), "cut short: the header describes 12 bytes of data, the file has 8");
  says(refusal(one("F32", "[1]", "[4,8]")), "tensor 'w' begins at byte 4, leaving a gap after the one before");
  says(refusal(one("U8", "[8]", "[0,8]")), "tensor 'w' has dtype U8, expected F32, F64, F16, BF16, I64 or I8");
  says(refusal(one("I32", "[2]", "[0,8]")), "tensor 'w' has dtype I32");
  says(refusal(one("F32", "[1,1,1,1,2]", "[0,8]")), "tensor 'w' has 5 axes, expected at most 4; reshape it");
  says(refusal(one("F32", "[-2]", "[0,8]")), "has shape [-2], which is no list of sizes");
  says(refusal(one("F32", "[2.5]", "[0,8]")), "has shape [2.5], which is no list of sizes");
  says(refusal(one("F32", "[18446744073709551615]", "[0,8]")), "which is no list of sizes");
  says(refusal(one("F32", "[4294967296,4294967296,2]", "[0,8]")), "tensor 'w' has a shape that overflows");
  says(refusal(one("F32", "[0,4611686018427387904,4]", "[0,0]")), "tensor 'w' has a shape that overflows");
  says(refusal(one("F32", "2", "[0,8]")), "has no list as its shape");
  says(refusal(one("F32", "[2]", "[0]")), "has data_offsets [0], expected [begin, end]");
  says(refusal(one("F32", "[2]", "[0,-8]")), "expected [begin, end]");
  says(refusal(one("F32", "[2]", "{}")), "expected [begin, end]");
  says(refusal(content(R"({"w":{"dtype":"F32","shape":[2]}})", eight)),
       "tensor 'w' lacks dtype, shape or data_offsets");
  says(refusal(content(R"({"w":{"dtype":1,"shape":[2],"data_offsets":[0,8]}})", eight)), "lacks dtype");
  says(refusal(content(R"({"w":3})", eight)), "tensor 'w' lacks");
  const auto two = [&](const std::string& a, const std::string& b) {
    return content("{" + entry("a", "F32", "[1]", a) + "," + entry("b", "F32", "[1]", b) + "}", eight);
  };
  says(refusal(two("[0,4]", "[0,4]")), "tensor 'b' begins at byte 0, overlapping the one before, which ends at 4");
  says(refusal(two("[0,4]", "[2,6]")), "overlapping");
  says(refusal(two("[4,8]", "[4,8]")), "leaving a gap");
  says(refusal(content("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", eight)),
       "its header has \"a\" twice");
  says(refusal(content(R"({"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", eight)), "twice");
  says(refusal(content(R"({"__metadata__":3})")), "__metadata__ is no object");
  says(refusal(content(R"({"__metadata__":{"epoch":3}})")), "__metadata__ 'epoch' is no string");
}

TEST_CASE("a header of many keys, or of deep lists, takes no more time than its size") {
  std::string many = "{\"__metadata__\":{\"a\":\"b\"}";
  for (int i = 0; i < 100'000; ++i) many += ",\"" + std::to_string(i) + "\":{}";
  const std::clock_t start = std::clock();  // of the processor: a machine may be busy
  CHECK(refusal(content(many + "}")).find("lacks dtype, shape or data_offsets") != std::string::npos);
  // Quadratic time, in the members of the parent at the end of each child, took half a minute.
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);
  std::string deep = "{\"w\":" + std::string(75'000, '[') + std::string(75'000, ']') + "}";
  CHECK(refusal(content(deep)).find("nested more than 32 deep") != std::string::npos);
}

TEST_CASE("the metadata is read without a look at the tensors") {
  const Scratch scratch;
  const std::string path = scratch.write("m", content(R"({"__metadata__":{"a":"b"},"w":{}})"));
  CHECK(read_safetensors_metadata(path) == std::map<std::string, std::string>{{"a", "b"}});
  CHECK(read_safetensors_metadata(scratch.write("n", content("{}"))).empty());
}

TEST_CASE("every truncation of a file is refused") {
  const Scratch scratch;
  TensorFile file;
  file.metadata = {{"key", "value"}};
  file.tensors = {{"w", Tensor::from<float>({2}, std::vector<float>{1, 2})}};
  write_safetensors(scratch / "file", file);
  const std::string whole = read_text(scratch / "file");
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(refusal(whole.substr(0, size)).starts_with("FILE: "));
  CHECK(refusal(whole + "x").starts_with("FILE: too long"));
}

TEST_CASE("what cannot be written is named and nothing is left behind") {
  const Scratch scratch;
  const std::string path = scratch / "file";
  const Tensor one = Tensor::from<float>({1}, std::vector<float>{1});
  const auto refused = [&](const TensorFile& file) { return error_message([&] { write_safetensors(path, file); }); };
  CHECK(refused({{}, {{"w", one}, {"w", one}}}) == path + ": tensor 'w' would be written twice; give it another name");
  CHECK(refused({{}, {{"__metadata__", one}}}).find("would be written twice") != std::string::npos);
  CHECK(refused({{}, {{"w", Tensor::empty({1}, DType::i32)}}}) ==
        path + ": tensor 'w' is i32, expected f32, f64, i64 or i8; convert it");
  CHECK(refused({{{"class", "caf\xe9"}}, {}}).ends_with("which is not UTF-8; rename it"));
  CHECK(scratch.list().empty());
}

TEST_CASE("f16: matrices are rounded, vectors and metadata are as they were") {
  const Scratch scratch;
  TensorFile file;
  file.metadata = {{"a", "b"}};
  // 1 + 2^-11 lies between two numbers of f16 and goes to the even one; 2^-25 to zero.
  file.tensors = {{"w", Tensor::from<float>({2, 2}, std::vector<float>{1 + 0x1p-11f, -65504, 0x1p-25f, 0x1p-24f})},
                  {"b", Tensor::from<float>({1}, std::vector<float>{1 + 0x1p-20f})},
                  {"n", Tensor::from<std::int64_t>({}, std::vector<std::int64_t>{3})}};
  const auto write = [&](WeightType weights) {
    write_atomic(scratch / "file", [&](const ByteSink& sink) { write_safetensors(sink, "file", file, weights); });
    return read_text(scratch / "file");
  };
  const std::string full = write(WeightType::f32), half = write(WeightType::f16);
  CHECK(full.size() - half.size() == 8);
  const TensorFile back = read_safetensors(scratch / "file"), rounded = rounded_to_f16(file, "file");
  CHECK(back.metadata == file.metadata);
  for (const TensorFile* read : {&back, &rounded}) {
    CHECK(data_of(*read->find("w")) ==
          data_of(Tensor::from<float>({2, 2}, std::vector<float>{1, -65504, 0, 0x1p-24f})));
    CHECK(data_of(*read->find("b")) == data_of(*file.find("b")));
    CHECK(data_of(*read->find("n")) == data_of(*file.find("n")));
  }
  file.tensors[0].second.data<float>()[3] = 65505;
  const std::string refused = "file: tensor 'w' has the value 65505, and f16 ends at 65504; write it as f32";
  CHECK(error_message([&] { write(WeightType::f16); }) == refused);
  CHECK(error_message([&] { rounded_to_f16(file, "file"); }) == refused);
}

TEST_CASE("a part of a file is read as a file") {
  const Scratch scratch;
  TensorFile file;
  file.tensors = {{"w", Tensor::from<float>({2}, std::vector<float>{1, 2})}};
  write_safetensors(scratch / "file", file);
  const std::string content = read_text(scratch / "file");
  const std::string path = scratch.write("more", "before" + content + "after");
  CHECK(data_of(*read_safetensors(InputFile(path, 6, content.size()), path).find("w")) == data_of(*file.find("w")));
  CHECK(error_message([&] {
          read_safetensors(InputFile(path, 6, content.size() - 1), path);
        }).starts_with(path + ": cut short"));
  CHECK(error_message([&] { InputFile(path, 6, content.size() + 6); }).starts_with(path + ": ends at byte "));
  CHECK(error_message([&] { InputFile(path, ~std::uint64_t{0}, 2); }).starts_with(path + ": ends at byte "));
}
