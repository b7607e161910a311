// What is chosen of a distillation loss: which soft term, and how it weighs against the hard one. The formulas stand in
// kernels/loss.h; who only chooses does not include the kernels' contract.
#pragma once

#include <cstdint>
#include <optional>

namespace retort {

enum class Convention : std::uint8_t { convex, additive };

enum class SoftLoss : std::uint8_t { kd, mse, dkd, nkd, dist, ttm, wttm };

/// The constant of a soft loss's formula that can be set; most have none.
struct LossConstant {
  const char* flag = nullptr;  ///< on the command line
  const char* what = "";       ///< what it weighs
  double value = 1;            ///< of the paper
};

/// What is known of a soft loss beside its formula.
struct SoftLossRow {
  SoftLoss value;
  const char* word;           ///< its name on the command line, in messages and in files
  bool reads_labels = false;  ///< the soft term itself does, lambda aside; it then takes one class a row: mixup has two
  /// What a row of two classes takes from it; empty: nothing.
  const char* with_two_classes = "";
  LossConstant constant = {};
  /// Operations a logit, which `retort bench` divides by the time: a maximum, a scaling, an exponential (counted as
  /// one) and a sum for each softmax, the labels' among them, and the gradient's few terms.
  double flops = 3 * 4 + 6;
};

/// All soft losses, in the order in which they are listed to the user. A new one is a word in the enum above and a row
/// here: the command line, its messages and the tests read them.
inline constexpr SoftLossRow kSoftLosses[] = {
    {SoftLoss::kd, "kd"},
    {SoftLoss::mse, "mse", false, "", {}, 4 + 6},
    {SoftLoss::dkd,
     "dkd",
     true,
     "its non-target term is 0, and what is left is kd's",
     {"--dkd-beta", "Weighs dkd's term of the other classes", 8}},
    {SoftLoss::nkd,
     "nkd",
     true,
     "its non-target term is 0, and only the labels' part is left",
     {"--nkd-gamma", "Weighs nkd's term of the other classes", 1.5},
     5 * 4 + 8},
    {SoftLoss::dist,
     "dist",
     false,
     "every row correlates fully, so only the part within classes is left",
     {"--dist-gamma", "Weighs dist's part within classes", 1},
     3 * 4 + 6 + 2 * 12},  // and two correlations
    {SoftLoss::ttm, "ttm"},
    {SoftLoss::wttm, "wttm", false, "", {}, 4 * 4 + 6},
};

constexpr const SoftLossRow& row_of(SoftLoss loss) {
  const SoftLossRow* row = kSoftLosses;
  while (row->value != loss) ++row;
  return *row;
}

/// What a schedule changes from step to step.
struct LossScalars {
  double temperature = 1, lambda = 0, soft_weight = 1;
};

struct DistillationSettings {
  double temperature = 1;
  double lambda = 0;
  Convention convention = Convention::convex;
  SoftLoss loss = SoftLoss::kd;
  bool standardize = false;
  double soft_weight = 1;
  std::optional<double> constant = {};  ///< of the loss's formula; none: the paper's
  /// Null, or in the backend's memory: read when the kernel runs, in place of the three numbers of the same names. So a
  /// step that was captured as a graph follows a schedule.
  const LossScalars* scalars = nullptr;

  /// The settings as they hold now, where `scalars` can be read.
  constexpr DistillationSettings now() const {
    DistillationSettings settings = *this;
    if (!scalars) return settings;
    settings.temperature = scalars->temperature;
    settings.lambda = scalars->lambda;
    settings.soft_weight = scalars->soft_weight;
    return settings;
  }
};

/// Hinton's loss itself: what has kernels of its own everywhere.
constexpr bool is_plain_kd(const DistillationSettings& settings) {
  return settings.loss == SoftLoss::kd && !settings.standardize;
}

/// The constant of the loss's formula.
constexpr double constant_of(const DistillationSettings& settings) {
  return settings.constant ? *settings.constant : row_of(settings.loss).constant.value;
}

/// What multiplies the soft term.
constexpr double weight_of_soft(const DistillationSettings& settings) {
  return settings.soft_weight * (settings.convention == Convention::convex ? 1 - settings.lambda : 1);
}

/// Whether the soft term itself reads the labels, lambda aside. It then takes one class a row: mixup has two.
constexpr bool soft_reads_labels(SoftLoss loss) { return row_of(loss).reads_labels; }

}  // namespace retort
