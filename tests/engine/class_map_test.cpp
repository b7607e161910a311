// A teacher's classes folded into a student's: the figures by hand, and what is refused.
#include "engine/distill/class_map.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

const std::vector<std::string> kTeacher = {"tabby", "pug", "persian", "boxer", "tank"}, kStudent = {"cat", "dog"};

ClassMap map_of(const Scratch& scratch, const std::string& table, bool prior = true) {
  return read_class_map(scratch.write("map.csv", table), prior);
}

Tensor logits() { return Tensor::from<float>({1, 5}, std::vector<float>{1, 2, 3, 4, 99}); }

}  // namespace

TEST_CASE("several classes become one by log-sum-exp, corrected for their number") {
  const Scratch scratch;
  const char* table = "teacher,student\ntabby,cat\npersian,cat\nboxer,dog\n";
  const ClassFold fold(map_of(scratch, table), "teacher.csv", kTeacher, kStudent);
  const Tensor folded = fold(logits());
  CHECK(folded.shape() == Shape{1, 2});
  const double cat = std::log(std::exp(1.0) + std::exp(3.0));
  CHECK(folded.data<float>()[0] == doctest::Approx(cat - std::log(2.0)).epsilon(1e-6));
  CHECK(folded.data<float>()[1] == doctest::Approx(4.0).epsilon(1e-6));
  CHECK(fold.remark().find("cat = 2 classes (corrected for 2: -0.693), dog = 1 classes") != std::string::npos);
  CHECK(fold.remark().find("2 others are left out") != std::string::npos);

  const Tensor sums = ClassFold(map_of(scratch, table, false), "teacher.csv", kTeacher, kStudent)(logits());
  CHECK(sums.data<float>()[0] == doctest::Approx(cat).epsilon(1e-6));
}

TEST_CASE("a teacher's class may stand for several itself") {
  const Scratch scratch;
  const std::vector<std::string> two = {"cat", "dog"};
  const ClassFold fold(map_of(scratch, "cat,cat,5\ndog,dog,118\n"), "scores.csv", two, kStudent);
  const Tensor folded = fold(Tensor::from<float>({1, 2}, std::vector<float>{0, 3}));
  CHECK(folded.data<float>()[0] - folded.data<float>()[1] + 3 == doctest::Approx(std::log(118.0 / 5)).epsilon(1e-6));
}

TEST_CASE("what a class map cannot mean is refused by file and line") {
  const Scratch scratch;
  const auto refusal = [&](const std::string& table) {
    return error_message([&] { ClassFold(map_of(scratch, table), "teacher.csv", kTeacher, kStudent); });
  };
  CHECK(refusal("tabby\n").find("map.csv:1: 1 fields, expected a teacher's class") != std::string::npos);
  CHECK(refusal("tabby,cat\ntabby,dog\n").find("map.csv:2: the teacher's class 'tabby' a second time") !=
        std::string::npos);
  CHECK(refusal("tabby,cat,0\n").find("'0' is no count") != std::string::npos);
  CHECK(refusal("tabby,cat,nan\n").find("'nan' is no count") != std::string::npos);
  CHECK(refusal(",cat\n").find("a class without a name") != std::string::npos);
  CHECK(refusal("").find("no pair of classes") != std::string::npos);
  CHECK(refusal("lynx,cat\n").find("teacher.csv has no class 'lynx'") != std::string::npos);
  CHECK(refusal("tabby,fish\n").find("the student has no class 'fish'; it knows cat or dog") != std::string::npos);
  CHECK(refusal("tabby,cat\n").find("no class of teacher.csv is given to the student's 'dog'") != std::string::npos);
}
