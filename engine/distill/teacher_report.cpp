#include "engine/distill/teacher_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "engine/core/check.h"
#include "engine/distill/objective.h"

namespace retort {
namespace {

constexpr double kFlat = 0.999, kSharp = 0.01, kAgrees = 0.99, kConstant = 1e-3;

/// softmax(row / temperature)
void probabilities(const float* row, double temperature, std::vector<double>& p) {
  const double top = *std::max_element(row, row + p.size());
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp((row[i] - top) / temperature);
  for (double& value : p) value /= sum;
}

double entropy_of(const std::vector<double>& p) {
  double entropy = 0;
  for (const double value : p)
    if (value > 0) entropy -= value * std::log(value);
  return entropy;
}

/// The entropy of what is left when one class is taken out and the rest made to add up to 1.
double entropy_beside(const std::vector<double>& p, std::size_t out) {
  double rest = 0, entropy = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (i != out) rest += p[i];
  if (rest <= 0) return 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (i != out && p[i] > 0) entropy -= p[i] / rest * std::log(p[i] / rest);
  return entropy;
}

std::string percent(double share) {
  char words[32];
  std::snprintf(words, sizeof words, "%.1f%%", 100 * share);
  return words;
}

TeacherVerdict verdict_of(const TeacherReport& r, double largest_difference) {
  const double error = std::sqrt(r.most_frequent * (1 - r.most_frequent) / std::max(1.0, double(r.labelled)));
  const bool repeats_labels = r.labelled == r.pictures && r.agreement > kAgrees;
  if (r.entropy_share > kFlat) return TeacherVerdict::flat;
  if (r.pictures > 1 && largest_difference < kConstant) return TeacherVerdict::constant;
  if (r.labelled == 0) return TeacherVerdict::not_judged;
  if (r.agreement - r.most_frequent < 2 * error) return TeacherVerdict::chance;
  if (repeats_labels && r.entropy_share < kSharp) return TeacherVerdict::labels;
  if (repeats_labels && r.classes > 2 && r.others_entropy > kFlat) return TeacherVerdict::smoothing;
  return TeacherVerdict::useful;
}

std::string sentence_of(const TeacherReport& r) {
  const std::string right = percent(r.agreement), of_log = percent(r.entropy_share);
  switch (r.verdict) {
    case TeacherVerdict::flat:
      return text("this teacher gives all classes the same probability (", of_log,
                  " of the highest entropy): expect nothing; a lower --temperature may show more");
    case TeacherVerdict::constant:
      return "this teacher says the same of every picture: expect nothing; its logits may belong to other pictures";
    case TeacherVerdict::chance:
      return text("this teacher is no better than chance: it agrees with ", right,
                  " of the labels, and naming the most "
                  "frequent class always would with ",
                  percent(r.most_frequent), ": expect nothing; check that its classes are in the same order");
    case TeacherVerdict::labels:
      return text(
          "this teacher's targets are the labels once more (", right, " agree, ", of_log,
          " of the highest entropy): expect nothing beyond labels alone; a higher --temperature, fresh crops or "
          "pictures without labels would give it something to say");
    case TeacherVerdict::smoothing:
      return text(
          "this teacher's targets are the labels, smoothed: beside the first all classes are alike: expect no "
          "more than from label smoothing");
    case TeacherVerdict::not_judged: return "there are no labels to judge this teacher by";
    case TeacherVerdict::useful:
      return text("this teacher agrees with ", right, " of the labels, and its targets hold ", of_log,
                  " of the highest entropy");
  }
  return {};
}

}  // namespace

TeacherReport judge_teacher(const StoredLogits& logits, const Tensor& labels, const DistillationSettings& settings,
                            const std::vector<std::int64_t>& rows) {
  check(logits.rows() > 0 && logits.classes() >= 2, "teacher: ", logits.rows(), " rows of ", logits.classes(),
        " logits, expected one or more of two classes or more");
  check(settings.temperature > 0, "teacher: a temperature of ", settings.temperature, ", expected one above 0");
  TeacherReport report;
  report.pictures = rows.empty() ? logits.rows() : static_cast<std::int64_t>(rows.size());
  report.classes = logits.classes();
  check(!labels || labels.count() == report.pictures, "teacher: ", labels.shape(), " labels for ", report.pictures,
        " pictures");
  const auto classes = static_cast<std::size_t>(report.classes);
  std::vector<float> row(classes);
  std::vector<double> p(classes), first;
  std::vector<std::int64_t> times(classes);
  std::int64_t right = 0;
  double largest_difference = 0;
  for (std::int64_t i = 0; i < report.pictures; ++i) {
    logits.read(rows.empty() ? i : rows[static_cast<std::size_t>(i)], row);
    const auto top = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
    probabilities(row.data(), 1, p);
    report.confidence += p[top];
    probabilities(row.data(), settings.temperature, p);
    report.entropy += entropy_of(p);
    report.others_entropy += entropy_beside(p, top);
    if (first.empty()) first = p;
    for (std::size_t c = 0; c < classes; ++c)
      largest_difference = std::max(largest_difference, std::abs(p[c] - first[c]));
    const std::int64_t label = labels ? labels.data<std::int64_t>()[i] : -1;
    check(label < report.classes, "teacher: label ", label, " of picture ", i, "; expected one below ", report.classes);
    if (label < 0) continue;
    ++report.labelled;
    ++times[static_cast<std::size_t>(label)];
    right += top == static_cast<std::size_t>(label);
  }
  const auto n = static_cast<double>(report.pictures);
  report.confidence /= n;
  report.entropy /= n;
  report.entropy_share = report.entropy / std::log(static_cast<double>(classes));
  report.others_entropy = classes > 2 ? report.others_entropy / n / std::log(static_cast<double>(classes - 1)) : 0;
  if (report.labelled > 0) {
    const auto labelled = static_cast<double>(report.labelled);
    report.agreement = static_cast<double>(right) / labelled;
    report.most_frequent = static_cast<double>(*std::ranges::max_element(times)) / labelled;
    report.hard_share = effective_hard_share(settings);
  }
  report.verdict = verdict_of(report, largest_difference);
  report.sentence = sentence_of(report);
  return report;
}

}  // namespace retort
