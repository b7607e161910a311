// What an evaluation reports, gathered batch by batch in double on the host.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// The samples whose confidence falls into one bin.
struct CalibrationBin {
  std::int64_t count = 0, correct = 0;
  double confidence = 0;  ///< their sum
};

/// Of two classes, where the second is the one looked for ("positive").
struct BinaryEvaluation {
  double precision = 0, recall = 0, f1 = 0;  ///< 0 where nothing is positive
  double auc = 0;  ///< chance that a positive sample has the higher logit difference; ties count half; 0 of one class
};

struct Evaluation {
  std::int64_t samples = 0;
  // Against labels; 0 where there are none.
  double accuracy = 0, top5_accuracy = 0;  ///< shares in [0, 1]
  double cross_entropy = 0;                ///< mean, at T = 1, in nats
  double ece = 0;  ///< expected calibration error over 15 equal bins of confidence (Guo et al. 1706.04599)
  std::vector<CalibrationBin> calibration;           ///< those 15 bins, from low confidence to high
  std::vector<std::vector<std::int64_t>> confusion;  ///< [true class][predicted class]
  std::optional<BinaryEvaluation> binary;            ///< where there are two classes
  // Against a teacher, p = softmax(v / T), q = softmax(z / T); 0 without one.
  double soft_cross_entropy = 0;  ///< mean CE(p, q)
  double kl = 0;                  ///< mean KL(p || q): soft cross-entropy less the teacher's entropy
  double soft_loss = 0;           ///< mean soft term of the loss that was asked for
  double agreement = 0;           ///< share of samples with the same most probable class
};

class Metrics {
 public:
  /// temperature is used for the teacher's terms only.
  explicit Metrics(std::int64_t classes, double temperature = 1);

  /// logits f32 [n, classes]; labels i64 [n] or empty; teacher f32 [n, classes] or empty. A tie counts for the lower
  /// class.
  void add(const Tensor& logits, const Tensor& labels, const Tensor& teacher = {});
  Evaluation result() const;

 private:
  std::int64_t classes_;
  double temperature_;
  std::int64_t samples_ = 0, labelled_ = 0, taught_ = 0;
  std::int64_t correct_ = 0, correct5_ = 0, agreed_ = 0;
  double cross_entropy_ = 0, soft_cross_entropy_ = 0, kl_ = 0;
  std::vector<std::vector<std::int64_t>> confusion_;
  std::vector<CalibrationBin> bins_;
  std::vector<std::pair<double, bool>> margins_;  ///< of two classes: logit difference, whether positive
};

}  // namespace retort
