// Hints: layers of the student learn the outputs of layers of the teacher. Each pair has a comparison
// (engine/distill/hint_losses.h) whose own layers are trained with the student and left behind at the end. The sum over
// the pairs is added to the distillation loss, times a weight: both are trained at once, as in "Contrastive
// Representation Distillation" (Tian et al., arXiv 1910.10699); FitNets' own first stage, the hints alone, is left out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/distill/hint_losses.h"

namespace retort {

/// Layers by the names that `retort summary` prints.
struct HintPair {
  std::string teacher, student;
};

/// "teacher.layer:student.layer". Throws UsageError for another form.
HintPair parse_hint(const std::string& words);

struct HintSettings {
  std::vector<HintPair> pairs;
  HintLoss loss = HintLoss::regression;
  double weight = 0;
};

class Hints : public Module {
 public:
  /// Layers as in ForwardContext::report, of one image each. Comparisons start from `seed`. Throws UsageError naming a
  /// layer that its network does not have, a pair of a map and a vector, or one that the loss does not compare.
  Hints(HintSettings settings, const std::vector<LayerReport>& teacher, const std::vector<LayerReport>& student,
        std::uint64_t seed);

  const std::vector<HintPair>& pairs() const { return settings_.pairs; }
  /// The student's layers as keys, for ForwardContext::taps.
  Taps student_taps() const;
  /// weight * sum of the pairs' losses, f32 [1]. `teacher`: the outputs of the pairs' layers, in order, f32 or bf16.
  /// Throws Error where an output has other channels than the layer had before.
  Tensor loss(const Taps& student, const std::vector<Tensor>& teacher);
  void visit(Visitor& visitor) override;

 private:
  HintSettings settings_;
  std::vector<std::unique_ptr<HintComparison>> comparisons_;
};

}  // namespace retort
