#include "engine/io/event_file.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/core/check.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

std::uint32_t number_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("crc32c: the check value, and RFC 3720's examples") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c("") == 0);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("EventFile: records with masked checksums") {
  const Scratch folder;
  EventFile file(folder / "events", 7);
  const std::string before = read_text(file.path());
  ProtoWriter summary;
  summary.message(1, scalar_value("loss", 0.5));
  file.add(3, summary);
  const std::string content = read_text(file.path());
  REQUIRE(content.starts_with(before));
  const std::string record = content.substr(before.size());
  std::uint64_t length = 0;
  std::memcpy(&length, record.data(), sizeof length);
  REQUIRE(record.size() == length + 16);
  const auto masked = [](std::string_view bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return static_cast<std::uint32_t>((crc >> 15 | crc << 17) + 0xa282ead8u);
  };
  CHECK(number_at(record, 8) == masked(std::string_view(record).substr(0, 8)));
  CHECK(number_at(record, 12 + length) == masked(std::string_view(record).substr(12, length)));
  // step 3, and a summary of one value: tag "loss", 0.5f.
  CHECK(record.substr(12 + 9, 2) == std::string("\x10\x03", 2));
  CHECK(record.find(std::string("\x0a\x04loss\x15\0\0\0\x3f", 11)) != record.npos);
}

TEST_CASE("EventFile: what is in its way") {
  const Scratch folder;
  const std::string path = folder.write("file", "x");
  CHECK(error_message([&] { EventFile file(path, 1); }).starts_with(path + ": cannot write: "));
}
