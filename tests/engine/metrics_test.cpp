#include "engine/distill/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "tests/error_message.h"
#include "tests/tolerance.h"

using namespace retort;
using retort::test::error_message;
using retort::test::mean_tolerance;

namespace {

Tensor matrix(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  return Tensor::from<float>({rows, columns}, values);
}

Tensor labels_of(const std::vector<std::int64_t>& values) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())}, values);
}

#define CHECK_NEAR(found, expected, tolerance)                   \
  do {                                                           \
    const double found_ = (found), expected_ = (expected);       \
    INFO("found ", found_, ", expected ", expected_);            \
    CHECK_FALSE(!(std::abs(found_ - expected_) <= (tolerance))); \
  } while (false)

/// softmax(row / T) by the definition, in long double. For logits of moderate size.
std::vector<long double> softmax_of(const float* row, std::int64_t classes, double temperature) {
  std::vector<long double> p(classes);
  long double sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) sum += p[i] = std::exp(static_cast<long double>(row[i]) / temperature);
  for (long double& value : p) value /= sum;
  return p;
}

}  // namespace

TEST_CASE("metrics: accuracy, cross-entropy and confusion of three rows worked by hand") {
  Metrics metrics(2);
  // Probabilities of class 0: 3/4, 1/2 (a tie: the lower class is predicted), 1/4.
  const auto log3 = static_cast<float>(std::log(3.0));
  metrics.add(matrix(3, 2, {log3, 0, 1, 1, 0, log3}), labels_of({0, 1, 0}));
  const Evaluation result = metrics.result();
  CHECK(result.samples == 3);
  CHECK(result.accuracy == 1.0 / 3);
  CHECK(result.top5_accuracy == 1);
  CHECK(result.confusion == std::vector<std::vector<std::int64_t>>{{1, 1}, {1, 0}});
  // log(3) is rounded to float before it comes here.
  CHECK_NEAR(result.cross_entropy, (std::log(4.0 / 3) + std::log(2.0) + std::log(4.0)) / 3, retort::test::epsilon32);
}

TEST_CASE("metrics: a tie counts for the lower class, in top 1 and in top 5") {
  Metrics metrics(7);
  const Tensor flat = Tensor::zeros({7, 7});
  metrics.add(flat, labels_of({0, 1, 2, 3, 4, 5, 6}));
  const Evaluation result = metrics.result();
  CHECK(result.accuracy == 1.0 / 7);
  CHECK(result.top5_accuracy == 5.0 / 7);
  for (int row = 0; row < 7; ++row) CHECK(result.confusion[row][0] == 1);
  CHECK_NEAR(result.cross_entropy, std::log(7.0), mean_tolerance(7, 7, std::log(7.0)));
}

TEST_CASE("metrics: calibration error of two bins worked by hand") {
  Metrics metrics(2);
  const auto logit = [](double confidence) { return static_cast<float>(std::log(confidence / (1 - confidence))); };
  // Four samples at confidence 0.75, half of them right, and one at 0.99, right.
  const float a = logit(0.75), b = logit(0.99);
  metrics.add(matrix(5, 2, {a, 0, a, 0, a, 0, a, 0, b, 0}), labels_of({0, 0, 1, 1, 0}));
  CHECK_NEAR(metrics.result().ece, 0.8 * 0.25 + 0.2 * 0.01, 4 * retort::test::epsilon32);
}

TEST_CASE("metrics: certain and right is perfectly calibrated") {
  Metrics metrics(3);
  metrics.add(matrix(2, 3, {100, -100, -100, -100, -100, 100}), labels_of({0, 2}));
  const Evaluation result = metrics.result();
  CHECK(result.ece == 0);
  CHECK(result.accuracy == 1);
  CHECK_NEAR(result.cross_entropy, 0, std::exp(-199.0));
}

TEST_CASE("metrics: against the definitions, in long double") {
  const std::int64_t rows = 200, classes = 13;
  Tensor logits = Tensor::empty({rows, classes}), teacher = Tensor::empty({rows, classes});
  fill_normal(logits, 0, 2, Random(1));
  fill_normal(teacher, 0, 2, Random(2));
  std::vector<std::int64_t> labels;
  Random draw(3);
  for (std::int64_t row = 0; row < rows; ++row) labels.push_back(static_cast<std::int64_t>(draw.below(classes)));

  for (const double temperature : {0.5, 1.0, 4.0, 20.0}) {
    Metrics metrics(classes, temperature);
    metrics.add(logits, labels_of(labels), teacher);
    const Evaluation result = metrics.result();

    long double cross_entropy = 0, soft = 0, kl = 0, ece = 0;
    std::int64_t correct = 0, correct5 = 0, agreed = 0;
    std::vector<long double> confidence(15, 0), right(15, 0);
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* z = logits.data<float>() + row * classes;
      const float* v = teacher.data<float>() + row * classes;
      const auto probability = softmax_of(z, classes, 1);
      const auto q = softmax_of(z, classes, temperature), p = softmax_of(v, classes, temperature);
      const auto best = std::max_element(probability.begin(), probability.end()) - probability.begin();
      cross_entropy -= std::log(probability[labels[row]]);
      std::int64_t above = 0;
      for (std::int64_t i = 0; i < classes; ++i) {
        above += z[i] > z[labels[row]];
        soft -= p[i] * std::log(q[i]);
        kl += p[i] * std::log(p[i] / q[i]);
      }
      correct += best == labels[row];
      correct5 += above < 5;
      agreed += best == std::max_element(p.begin(), p.end()) - p.begin();
      for (int bin = 0; bin < 15; ++bin) {
        if (!(probability[best] > bin / 15.0L && probability[best] <= (bin + 1) / 15.0L)) continue;
        confidence[bin] += probability[best];
        right[bin] += best == labels[row];
      }
    }
    for (int bin = 0; bin < 15; ++bin) ece += std::abs(right[bin] - confidence[bin]) / rows;

    // Float logits of at most about 8, over T.
    const double magnitude = 16 / std::min(1.0, temperature) + std::log(double{classes});
    const double tolerance = mean_tolerance(rows, classes, magnitude);
    CHECK(result.accuracy == static_cast<double>(correct) / rows);
    CHECK(result.top5_accuracy == static_cast<double>(correct5) / rows);
    CHECK(result.agreement == static_cast<double>(agreed) / rows);
    CHECK_NEAR(result.cross_entropy, static_cast<double>(cross_entropy / rows), tolerance);
    CHECK_NEAR(result.soft_cross_entropy, static_cast<double>(soft / rows), tolerance);
    CHECK_NEAR(result.kl, static_cast<double>(kl / rows), tolerance);
    CHECK_NEAR(result.ece, static_cast<double>(ece), tolerance);
  }
}

TEST_CASE("metrics: a sum over batches is the sum over all rows, to the bit") {
  Tensor logits = Tensor::empty({6, 4});
  fill_normal(logits, 0, 1, Random(5));
  const std::vector<std::int64_t> labels = {0, 1, 2, 3, 0, 1};
  Metrics whole(4, 2), parts(4, 2);
  whole.add(logits, labels_of(labels), logits);
  for (std::int64_t begin : {0, 2, 4}) {
    const std::vector<float> rows(logits.data<float>() + begin * 4, logits.data<float>() + (begin + 2) * 4);
    parts.add(matrix(2, 4, rows), labels_of({labels[begin], labels[begin + 1]}), matrix(2, 4, rows));
  }
  CHECK(whole.result().cross_entropy == parts.result().cross_entropy);
  CHECK(whole.result().soft_cross_entropy == parts.result().soft_cross_entropy);
  CHECK(whole.result().ece == parts.result().ece);
  CHECK(whole.result().confusion == parts.result().confusion);
}

TEST_CASE("metrics: a student equal to its teacher") {
  Tensor logits = Tensor::empty({20, 5});
  fill_normal(logits, 0, 30, Random(7));
  Metrics metrics(5, 3);
  metrics.add(logits, {}, logits);
  const Evaluation result = metrics.result();
  CHECK(result.kl == 0);
  CHECK(result.agreement == 1);
  CHECK(result.accuracy == 0);  // no labels
  CHECK(result.samples == 20);
}

TEST_CASE("metrics: logits of +-100 stay finite") {
  Metrics metrics(2, 0.5);
  metrics.add(matrix(1, 2, {100, -100}), labels_of({1}), matrix(1, 2, {-100, 100}));
  const Evaluation result = metrics.result();
  CHECK(result.cross_entropy == 200);
  CHECK(result.kl == 400);
  CHECK(result.soft_cross_entropy == 400);
}

TEST_CASE("metrics: a network that gives NaN is never right") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Metrics metrics(3);
  metrics.add(matrix(3, 3, {nan, nan, nan, nan, 1, 0, 0, 1, nan}), labels_of({0, 1, 1}));
  const Evaluation result = metrics.result();
  CHECK(result.accuracy == 0);
  CHECK(std::isnan(result.cross_entropy));
}

TEST_CASE("metrics: an empty evaluation is all zeros") {
  const Evaluation result = Metrics(2).result();
  CHECK(result.samples == 0);
  CHECK(result.cross_entropy == 0);
  CHECK(result.kl == 0);
}

TEST_CASE("metrics: what does not fit is named") {
  Metrics metrics(3);
  CHECK(error_message([&] {
          metrics.add(matrix(1, 2, {0, 0}), labels_of({0}));
        }) == "metrics: the model's logits [1, 2]; expected float32 [n, 3]");
  CHECK(error_message([&] {
          metrics.add(matrix(1, 3, {0, 0, 0}), labels_of({3}));
        }) == "metrics: label 3 in row 0; expected 0 to 2");
  CHECK(error_message([&] {
          metrics.add(matrix(1, 3, {0, 0, 0}), labels_of({-1}));
        }) == "metrics: label -1 in row 0; expected 0 to 2");
  CHECK(error_message([&] {
          metrics.add(matrix(1, 3, {0, 0, 0}), labels_of({0, 1}));
        }) == "metrics: [2] labels for 1 rows of logits");
  CHECK(error_message([&] {
          metrics.add(matrix(1, 3, {0, 0, 0}), {}, matrix(2, 3, {0, 0, 0, 0, 0, 0}));
        }) == "metrics: 2 rows of teacher logits for 1");
  for (const double temperature : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(Metrics(2, temperature), UsageError);
}
