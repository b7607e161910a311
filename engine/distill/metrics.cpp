#include "engine/distill/metrics.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr std::int64_t kBins = 15;

std::int64_t argmax(const float* row, std::int64_t classes) {
  return std::max_element(row, row + classes) - row;  // the first of equals
}

/// out_i = log softmax(row / temperature)_i
void log_softmax(const float* row, std::int64_t classes, double temperature, std::vector<double>& out) {
  const double highest = row[argmax(row, classes)] / temperature;
  double sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) {
    out[i] = row[i] / temperature - highest;
    sum += std::exp(out[i]);
  }
  const double log_sum = std::log(sum);
  for (double& value : out) value -= log_sum;
}

/// How many classes come before `label`, by logit and then by index. A NaN on either side comes before, so that a
/// broken network never counts as right.
std::int64_t rank_of(const float* row, std::int64_t classes, std::int64_t label) {
  std::int64_t rank = 0;
  for (std::int64_t i = 0; i < classes; ++i) {
    const bool behind = row[i] < row[label] || (row[i] == row[label] && i >= label);
    if (!behind) ++rank;
  }
  return rank;
}

/// The area under the ROC curve by ranks (Mann and Whitney 1947): ties share the mean of their ranks.
double area_under_curve(std::vector<std::pair<double, bool>> margins) {
  std::ranges::sort(margins);
  double ranks = 0, positives = 0;
  const std::size_t n = margins.size();
  for (std::size_t begin = 0; begin < n;) {
    std::size_t end = begin;
    double here = 0;
    for (; end < n && margins[end].first == margins[begin].first; ++end) here += margins[end].second;
    ranks += here * (static_cast<double>(begin + end + 1) / 2);
    positives += here;
    begin = std::max(end, begin + 1);  // a NaN equals nothing
  }
  const double negatives = static_cast<double>(n) - positives;
  if (positives == 0 || negatives == 0) return 0;
  return (ranks - positives * (positives + 1) / 2) / (positives * negatives);
}

BinaryEvaluation binary_evaluation(const std::vector<std::vector<std::int64_t>>& confusion,
                                   const std::vector<std::pair<double, bool>>& margins) {
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  const std::int64_t hits = confusion[1][1], false_alarms = confusion[0][1], missed = confusion[1][0];
  return {share(hits, hits + false_alarms), share(hits, hits + missed),
          share(2 * hits, 2 * hits + false_alarms + missed), area_under_curve(margins)};
}

void check_logits(const Tensor& logits, std::int64_t classes, const char* what) {
  check(logits.dtype() == DType::f32 && logits.shape().rank() == 2 && logits.shape()[1] == classes, "metrics: ", what,
        " logits ", logits.shape(), "; expected float32 [n, ", classes, "]");
}

}  // namespace

Metrics::Metrics(std::int64_t classes, double temperature)
    : classes_(classes),
      temperature_(temperature),
      confusion_(classes, std::vector<std::int64_t>(classes, 0)),
      bins_(kBins) {
  check(classes >= 1, "metrics: ", classes, " classes; expected at least 1");
  if (!(temperature > 0) || !std::isfinite(temperature))
    throw UsageError(text("--temperature: ", temperature, "; expected a positive number"));
}

void Metrics::add(const Tensor& logits, const Tensor& labels, const Tensor& teacher) {
  check_logits(logits, classes_, "the model's");
  const std::int64_t rows = logits.shape()[0];
  check(!labels || labels.count() == rows, "metrics: ", labels.shape(), " labels for ", rows, " rows of logits");
  if (teacher) {
    check_logits(teacher, classes_, "the teacher's");
    check(teacher.shape()[0] == rows, "metrics: ", teacher.shape()[0], " rows of teacher logits for ", rows);
  }

  std::vector<double> log_q(classes_), log_p(classes_);
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* z = logits.data<float>() + row * classes_;
    const std::int64_t predicted = argmax(z, classes_);
    if (labels) {
      const std::int64_t label = labels.data<std::int64_t>()[row];
      check(label >= 0 && label < classes_, "metrics: label ", label, " in row ", row, "; expected 0 to ",
            classes_ - 1);
      log_softmax(z, classes_, 1, log_q);
      cross_entropy_ -= log_q[label];
      const std::int64_t rank = rank_of(z, classes_, label);
      correct_ += rank == 0;
      correct5_ += rank < 5;
      ++confusion_[label][predicted];
      if (classes_ == 2) margins_.emplace_back(double{z[1]} - double{z[0]}, label == 1);
      const double confidence = std::exp(log_q[predicted]);
      // Bin b holds the confidences in (b / 15, (b + 1) / 15].
      const double position = std::ceil(confidence * kBins) - 1;
      CalibrationBin& bin =
          bins_[position > 0 ? std::min<std::int64_t>(static_cast<std::int64_t>(position), kBins - 1) : 0];
      ++bin.count;
      bin.correct += rank == 0;
      bin.confidence += confidence;
      ++labelled_;
    }
    if (teacher) {
      const float* v = teacher.data<float>() + row * classes_;
      log_softmax(z, classes_, temperature_, log_q);
      log_softmax(v, classes_, temperature_, log_p);
      for (std::int64_t i = 0; i < classes_; ++i) {
        const double p = std::exp(log_p[i]);
        if (p == 0) continue;  // the limit of p log p
        soft_cross_entropy_ -= p * log_q[i];
        kl_ += p * (log_p[i] - log_q[i]);
      }
      agreed_ += predicted == argmax(v, classes_);
      ++taught_;
    }
  }
  samples_ += rows;
}

Evaluation Metrics::result() const {
  Evaluation result;
  result.samples = samples_;
  result.confusion = confusion_;
  if (labelled_ > 0) {
    const auto n = static_cast<double>(labelled_);
    result.accuracy = static_cast<double>(correct_) / n;
    result.top5_accuracy = static_cast<double>(correct5_) / n;
    result.cross_entropy = cross_entropy_ / n;
    result.calibration = bins_;
    if (classes_ == 2) result.binary = binary_evaluation(confusion_, margins_);
    // sum over bins of (count / n) * |accuracy - mean confidence|
    for (const CalibrationBin& bin : bins_)
      result.ece += std::abs(static_cast<double>(bin.correct) - bin.confidence) / n;
  }
  if (taught_ > 0) {
    const auto n = static_cast<double>(taught_);
    result.soft_cross_entropy = soft_cross_entropy_ / n;
    result.kl = kl_ / n;
    result.agreement = static_cast<double>(agreed_) / n;
  }
  return result;
}

}  // namespace retort
