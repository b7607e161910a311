// A teacher judged by its logits: the figures by hand, and each verdict.
#include "engine/distill/teacher_report.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/random.h"

using namespace retort;

namespace {

Tensor labels_of(const std::vector<std::int64_t>& labels) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(labels.size())}, labels);
}

constexpr std::int64_t kPictures = 200, kClasses = 4;

/// Labels 0, 1, 2, 3, 0, 1, ...
std::vector<std::int64_t> turns() {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < kPictures; ++i) labels.push_back(i % kClasses);
  return labels;
}

/// Logits from (picture, class).
Tensor logits_of(const std::function<double(std::int64_t, std::int64_t)>& logit, std::int64_t classes = kClasses) {
  Tensor logits = Tensor::empty({kPictures, classes});
  for (std::int64_t i = 0; i < kPictures; ++i)
    for (std::int64_t c = 0; c < classes; ++c) logits.data<float>()[i * classes + c] = static_cast<float>(logit(i, c));
  return logits;
}

TeacherVerdict verdict(const Tensor& logits, double temperature = 1,
                       const std::vector<std::int64_t>& labels = turns()) {
  const TeacherReport report = judge_teacher(logits, labels_of(labels), {.temperature = temperature});
  CHECK_FALSE(report.sentence.empty());
  CHECK(report.sentence.find('\n') == std::string::npos);
  return report.verdict;
}

/// Right on all pictures, and each wrong class has its own probability.
double knowing(std::int64_t i, std::int64_t c) {
  return c == i % kClasses ? 4 : static_cast<double>((i / kClasses + 3 * c) % 5) / 2;
}

}  // namespace

TEST_CASE("judge_teacher: figures by hand") {
  const double two = std::log(2.0);
  // Probabilities (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2) at T = 1; at T = 2 their square roots, made to add up to 1.
  const Tensor logits =
      Tensor::from<float>({2, 3}, std::vector<float>{static_cast<float>(two), 0, 0, 0, 0, static_cast<float>(two)});
  const TeacherReport at_one = judge_teacher(logits, labels_of({0, 1}), {.temperature = 1, .lambda = 0.1});
  CHECK(at_one.pictures == 2);
  CHECK(at_one.labelled == 2);
  CHECK(at_one.agreement == 0.5);
  CHECK(at_one.most_frequent == 0.5);
  CHECK(at_one.confidence == doctest::Approx(0.5));
  CHECK(at_one.entropy == doctest::Approx(1.5 * two));
  CHECK(at_one.entropy_share == doctest::Approx(1.5 * two / std::log(3.0)));
  CHECK(at_one.others_entropy == doctest::Approx(1));
  CHECK(at_one.hard_share == doctest::Approx(0.1));
  const TeacherReport at_two = judge_teacher(logits, labels_of({0, -1}), {.temperature = 2});
  CHECK(at_two.labelled == 1);
  CHECK(at_two.agreement == 1);
  CHECK(at_two.confidence == doctest::Approx(0.5));
  const double sum = std::sqrt(2.0) + 2, p = std::sqrt(2.0) / sum, q = 1 / sum;
  CHECK(at_two.entropy == doctest::Approx(-p * std::log(p) - 2 * q * std::log(q)));
  const TeacherReport bare = judge_teacher(logits, {}, {.temperature = 1, .lambda = 0.1});
  CHECK(bare.labelled == 0);
  CHECK(bare.agreement == 0);
  CHECK(bare.hard_share == 0);
  CHECK(bare.verdict == TeacherVerdict::not_judged);
}

TEST_CASE("judge_teacher: a teacher that knows something is not warned of") {
  CHECK(verdict(logits_of(knowing)) == TeacherVerdict::useful);
  CHECK(verdict(logits_of(knowing), 4) == TeacherVerdict::useful);
  // Two classes: how sure it is, from picture to picture.
  const auto sure = [](std::int64_t i, std::int64_t c) {
    return c == i % 2 ? 1 + static_cast<double>(i % 7) / 2 : 0.0;
  };
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < kPictures; ++i) labels.push_back(i % 2);
  CHECK(verdict(logits_of(sure, 2), 1, labels) == TeacherVerdict::useful);
}

TEST_CASE("judge_teacher: chance is what naming the most frequent class gets, give or take two standard errors") {
  // Most probable is class 0 or 1, whatever the picture shows.
  const auto blind = [](std::int64_t i, std::int64_t c) { return c == (i / 4) % 2 ? 2.0 : static_cast<double>(c) / 4; };
  CHECK(verdict(logits_of(blind)) == TeacherVerdict::chance);
  // m = 1/4 and 200 pictures: two standard errors are 6.1%. 25% + 6% is not above them, 25% + 7% is.
  const auto right_on = [](std::int64_t pictures) {
    return logits_of([pictures](std::int64_t i, std::int64_t c) {
      return c == (i < pictures ? i % kClasses : (i + 1) % kClasses) ? 3 : static_cast<double>(c + i % 3) / 5;
    });
  };
  CHECK(verdict(right_on(62)) == TeacherVerdict::chance);
  CHECK(verdict(right_on(64)) == TeacherVerdict::useful);
  // 70% right is nothing where 70% of the pictures are of one class.
  std::vector<std::int64_t> skewed;
  for (std::int64_t i = 0; i < kPictures; ++i) skewed.push_back(i % 10 < 7 ? 0 : 1);
  const auto always = [](std::int64_t i, std::int64_t c) { return c == 0 ? 2 : static_cast<double>(c + i % 3) / 5; };
  CHECK(verdict(logits_of(always), 1, skewed) == TeacherVerdict::chance);
}

TEST_CASE("judge_teacher: targets that repeat the labels, or smooth them, where all pictures have one") {
  const auto sharp = [](std::int64_t i, std::int64_t c) {
    return c == i % kClasses ? 20 : static_cast<double>((c + i) % 3);
  };
  CHECK(verdict(logits_of(sharp)) == TeacherVerdict::labels);
  CHECK(verdict(logits_of(sharp), 8) == TeacherVerdict::useful);  // softened, it says more
  const auto margin = [](std::int64_t i, std::int64_t c) { return c == i % kClasses ? 2.0 : 0.0; };
  CHECK(verdict(logits_of(margin)) == TeacherVerdict::smoothing);
  std::vector<std::int64_t> partly = turns();
  partly[100] = -1;
  CHECK(verdict(logits_of(sharp), 1, partly) == TeacherVerdict::useful);
  CHECK(verdict(logits_of(margin), 1, partly) == TeacherVerdict::useful);
}

TEST_CASE("judge_teacher: targets that say nothing of the classes, or of the pictures") {
  CHECK(verdict(logits_of(knowing), 1000) == TeacherVerdict::flat);
  CHECK(verdict(logits_of([](std::int64_t, std::int64_t c) { return static_cast<double>(c); })) ==
        TeacherVerdict::constant);
  CHECK(judge_teacher(logits_of([](std::int64_t, std::int64_t) { return 1.0; }), {}, {.temperature = 1}).verdict ==
        TeacherVerdict::flat);
}

TEST_CASE("judge_teacher: refuses what does not fit") {
  const Tensor logits = logits_of(knowing);
  CHECK_THROWS_AS(judge_teacher(logits, labels_of({0, 1}), {.temperature = 1}), Error);
  CHECK_THROWS_AS(judge_teacher(logits, labels_of(std::vector<std::int64_t>(kPictures, kClasses)), {.temperature = 1}),
                  Error);
  CHECK_THROWS_AS(judge_teacher(logits, {}, {.temperature = 0}), Error);
  CHECK_THROWS_AS(judge_teacher(Tensor::zeros({3}), {}, {.temperature = 1}), Error);
}
