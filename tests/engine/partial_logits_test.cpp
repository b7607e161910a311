#include "engine/distill/partial_logits.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

const Fingerprint kRun = {{"--views", "2"}, {"--model", "0123"}};

Tensor block(float first, std::int64_t rows) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < 2 * rows; ++i) values.push_back(first + static_cast<float>(i));
  return Tensor::from<float>({rows, 2}, values);
}

std::vector<float> all(const PartialLogits& logits) {
  std::vector<float> values;
  logits.read([&](std::span<const float> part) { values.insert(values.end(), part.begin(), part.end()); });
  return values;
}

}  // namespace

TEST_CASE("logits under way are there whole after whatever byte their writer was killed at") {
  const Scratch scratch;
  const std::string store = scratch / "s.npy", path = scratch / "s.partial";
  std::vector<std::size_t> ends;  // of the header and of each block
  {
    PartialLogits logits(store, kRun, 2);
    CHECK(logits.rows() == 0);
    ends.push_back(std::filesystem::file_size(path));
    for (const std::int64_t rows : {3, 1}) {
      logits.add(block(static_cast<float>(10 * rows), rows));
      ends.push_back(std::filesystem::file_size(path));
    }
    CHECK(all(logits) == std::vector<float>{30, 31, 32, 33, 34, 35, 10, 11});
  }
  const std::string whole = read_text(path);
  for (std::size_t size = ends[0]; size <= whole.size(); ++size) {
    scratch.write("s.partial", whole.substr(0, size));
    PartialLogits logits(store, kRun, 2);
    const std::int64_t rows = size < ends[1] ? 0 : size < ends[2] ? 3 : 4;
    CHECK(logits.rows() == rows);
    CHECK(std::filesystem::file_size(path) == (rows == 0 ? ends[0] : rows == 3 ? ends[1] : ends[2]));
    logits.add(block(5, 1));
    CHECK(PartialLogits(store, kRun, 2).rows() == rows + 1);
  }
  // A block whose end was written before its beginning.
  std::string torn = whole;
  torn[ends[1] + 10] ^= 1;
  scratch.write("s.partial", torn);
  CHECK(PartialLogits(store, kRun, 2).rows() == 3);
  PartialLogits(store, kRun, 2).remove();
  CHECK_FALSE(std::filesystem::exists(path));
  { const PartialLogits logits(store, kRun, 2); }
  CHECK_FALSE(std::filesystem::exists(path));  // without a row
}

TEST_CASE("logits under way of other settings are refused by name, and what is none by its file") {
  const Scratch scratch;
  const std::string store = scratch / "s.npy", path = scratch / "s.partial";
  PartialLogits(store, kRun, 2).add(block(0, 1));
  CHECK(error_message([&] {
          PartialLogits(store, {{"--views", "4"}, {"--model", "0123"}}, 2);
        }) == path + ": the run was started with --views '2', not '4'; give the same flags, or another --out");
  CHECK(error_message([&] {
          PartialLogits(store, {{"--views", "2"}, {"--model", "4567"}}, 2);
        }).starts_with(path + ": the run was started with --model"));
  CHECK(error_message([&] {
          PartialLogits(store, kRun, 2).add(Tensor::full({1, 2}, NAN));
        }) == path + ": a logit is nan, expected finite numbers; check the teacher");
  const std::string whole = read_text(path);
  for (const std::string& content : {std::string(), std::string("a user's own notes"), whole.substr(0, 20)}) {
    scratch.write("s.partial", content);
    const std::string message = error_message([&] { PartialLogits(store, kRun, 2); });
    CHECK(message.starts_with(path + ": "));
    CHECK(message.ends_with("; move it away, or throw it away with --restart"));
    CHECK(read_text(path) == content);
  }
}
