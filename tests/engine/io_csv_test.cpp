#include "engine/io/csv.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/core/random.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

LogitTable read(const std::string& text) {
  const Scratch scratch;
  return read_logit_csv(scratch.write("logits.csv", text));
}

/// What reading such a file throws, its path replaced by FILE.
std::string refusal(const std::string& text) {
  const Scratch scratch;
  const std::string path = scratch.write("logits.csv", text);
  std::string message = error_message([&] { read_logit_csv(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
  return message;
}

}  // namespace

TEST_CASE("floats of every size come back to the bit, names whatever they hold") {
  LogitTable table;
  table.classes = {"cat", "dog, large", "the \"third\"\nclass"};
  for (int row = 0; row < 1000; ++row) {
    table.names.push_back("cat/" + std::to_string(row) + ".jpg");
    Random random = Random::of(1, "csv", static_cast<std::uint64_t>(row));
    while (table.values.size() < 3 * table.names.size()) {
      const std::uint32_t bits = random.bits();
      float value;
      std::memcpy(&value, &bits, sizeof value);
      if (std::isfinite(value)) table.values.push_back(value);
    }
  }
  table.names[1] = "a,b";
  table.names[2] = "a\"b";
  table.names[3] = " a\r\nb ";
  const float extremes[] = {0.f, -0.f, std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min(),
                            0.1f};
  std::copy(std::begin(extremes), std::end(extremes), table.values.begin());

  const Scratch scratch;
  write_logit_csv(scratch / "logits.csv", table);
  const LogitTable back = read_logit_csv(scratch / "logits.csv");
  CHECK(back.classes == table.classes);
  CHECK(back.names == table.names);
  REQUIRE(back.values.size() == table.values.size());
  CHECK(std::memcmp(back.values.data(), table.values.data(), table.values.size() * sizeof(float)) == 0);
}

TEST_CASE("a name that a spreadsheet takes for a formula is marked, and comes back") {
  const Scratch scratch;
  const std::vector<std::string> names = {"=1+1.jpg", "+cmd", "@x",     "-a", "'=x", "''-1.5",
                                          "-1.5",     "+2",   "'plain", "-",  "\t="};
  write_logit_csv(scratch / "f.csv", {{"=SUM(A1)", "-2"}, names, std::vector<float>(2 * names.size(), 1)});
  const LogitTable back = read_logit_csv(scratch / "f.csv");
  CHECK(back.names == names);
  CHECK(back.classes == std::vector<std::string>{"=SUM(A1)", "-2"});
  CHECK(
      read_text(scratch / "f.csv").starts_with("name,'=SUM(A1),-2\n'=1+1.jpg,1,1\n'+cmd,1,1\n'@x,1,1\n'-a,1,1\n''=x,"));
}

TEST_CASE("the text is plain") {
  const Scratch scratch;
  write_logit_csv(scratch / "logits.csv", {{"cat", "dog"}, {"a.jpg", "b,c.jpg"}, {1, -0.5f, 0.1f, 1e-20f}});
  CHECK(read_text(scratch / "logits.csv") == "name,cat,dog\na.jpg,1,-0.5\n\"b,c.jpg\",0.100000001,9.99999968e-21\n");
}

TEST_CASE("line ends, blank lines, spaces, a byte order mark and a plus sign are taken as they come") {
  const LogitTable table = read("\xef\xbb\xbfname,\"cat\",dog\r\n\r\na.jpg, 1.5 ,+2\r\n\"b\r\nc\",-3e1,4\n\n");
  CHECK(table.classes == std::vector<std::string>{"cat", "dog"});
  CHECK(table.names == std::vector<std::string>{"a.jpg", "b\r\nc"});
  CHECK(table.values == std::vector<float>{1.5f, 2, -30, 4});
  CHECK(read("name,cat\na,1").values == std::vector<float>{1});
  CHECK(read("name,cat\na,1e-60").values == std::vector<float>{0});
}

TEST_CASE("a malformed table is refused with file and line") {
  for (const char* text : {"", "\n\n", "cat,dog\n", "name\n", "names,cat\n", ";name\n", "0,name,cat\n"})
    CHECK(refusal(text) ==
          std::string("FILE:1") +
              ": expected the header name,<class>,<class>... (or filename, file, image for name; ; for ,); add it");
  CHECK(refusal("name,cat,cat\n") == "FILE:1: class 'cat' twice in the header; name each column");
  CHECK(refusal("name,cat,dog\n") == "FILE: no rows below the header; add one for each image");
  CHECK(refusal("name,cat,dog\na,1,2\nb,1\n") == "FILE:3: 2 fields, expected 3 as in the header; complete the row");
  CHECK(refusal("name,cat\n\"a\nb\",1\nc,1,2\n") == "FILE:4: 3 fields, expected 2 as in the header; complete the row");
  CHECK(refusal("name,cat\na,1\n\na,2\n") == "FILE:4: 'a' a second time; keep one row of it");
  for (const char* number : {"", "x", "1x", "1 2", "0x10", "1,5", "--1", "1e999"}) {
    const std::string message =
        refusal("name,cat,dog\na,1," + (number == std::string("1,5") ? "\"1,5\"" : std::string(number)) + "\n");
    CHECK(message == "FILE:2: '" + std::string(number) + "' is no number; give a logit");
  }
  for (const char* number : {"nan", "inf", "-inf", "1e39"})
    CHECK(refusal("name,cat\na," + std::string(number) + "\n") ==
          "FILE:2: '" + std::string(number) + "' is no finite float; give a logit");
  CHECK(refusal("name,cat\n\"a,1\n") == "FILE:2: a quoted field without an end; close it with \"");
  CHECK(refusal("name,cat\n\"a\"b,1\n") ==
        "FILE:2: text after a closing quote; double the quotes within a quoted field");
  const Scratch scratch;
  CHECK(error_message([&] { read_logit_csv(scratch / "none"); }).find("No such file") != std::string::npos);
}

TEST_CASE("logits that are not finite are not written") {
  const Scratch scratch;
  const std::string path = scratch / "logits.csv";
  CHECK(error_message([&] {
          write_logit_csv(path, {{"cat"}, {"a", "b"}, {1, NAN}});
        }) == path + ": the logit of 'b' for class 'cat' is nan, expected a finite number; check the teacher");
  CHECK(scratch.list().empty());
}

TEST_CASE("tables as other programs write them: other words for name, an index column, semicolons") {
  const std::vector<float> values = {1, 2.5f};
  for (const char* text :
       {"filename,cat,dog\na.jpg,1,2.5\n", "File,cat,dog\na.jpg,1,2.5\n", "image,cat,dog\na.jpg,1,2.5\n",
        ",name,cat,dog\n0,a.jpg,1,2.5\n", "Unnamed: 0,filename,cat,dog\n0,a.jpg,1,2.5\n", "name;cat;dog\na.jpg;1;2.5\n",
        "name;cat;dog\r\na.jpg;1,0;2,5\r\n", "index;image;cat;dog\n7;a.jpg;1;2,5\n"}) {
    CAPTURE(text);
    const LogitTable table = read(text);
    CHECK(table.names == std::vector<std::string>{"a.jpg"});
    CHECK(table.classes == std::vector<std::string>{"cat", "dog"});
    CHECK(table.values == values);
  }
  CHECK(read("name;cat;dog\n\"a;b,c.jpg\";1;2,5\n").names.front() == "a;b,c.jpg");
  CHECK(refusal("name,cat,dog\na.jpg,\"1,5\",2\n").starts_with("FILE:2: '1,5' is no number"));
  const Scratch scratch;
  const auto predictions = read_prediction_csv(scratch.write("p.csv", "filename;prediction\na.jpg;cat\n"));
  REQUIRE(predictions);
  CHECK(predictions->predictions == std::vector<std::string>{"cat"});
}
