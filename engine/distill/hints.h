// Hints: layers of the student learn the outputs of layers of the teacher (FitNets, Romero et al., arXiv 1412.6550).
//
// For a pair of layers with outputs s [n, h, w, c] and t [n, h', w', c'] a regressor, a 1 x 1 convolution r from c to
// c' channels, is trained with the student and left behind at the end:
//   loss = mean over all elements of (r(pool(s)) - pool(t))^2,
// where pool averages the larger map down to the smaller one's extents. Outputs [n, c] have a linear regressor. The
// sum over the pairs is added to the distillation loss, times a weight: both are trained at once, as in "Contrastive
// Representation Distillation" (Tian et al., arXiv 1910.10699); FitNets' own first stage, the hints alone, is left out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/nn/layers.h"

namespace retort {

/// Layers by the names that `retort summary` prints.
struct HintPair {
  std::string teacher, student;
};

/// "teacher.layer:student.layer". Throws UsageError for another form.
HintPair parse_hint(const std::string& words);

class Hints : public Module {
 public:
  /// Layers as in ForwardContext::report, of one image each. Regressors start from `seed`. Throws UsageError naming a
  /// layer that its network does not have, or a pair of a map and a vector.
  Hints(std::vector<HintPair> pairs, const std::vector<LayerReport>& teacher, const std::vector<LayerReport>& student,
        double weight, std::uint64_t seed);

  const std::vector<HintPair>& pairs() const { return pairs_; }
  /// The student's layers as keys, for ForwardContext::taps.
  Taps student_taps() const;
  /// weight * sum of the pairs' losses, f32 [1]. `teacher`: the outputs of the pairs' layers, in order, f32 or bf16.
  /// Throws Error where an output has other channels than the layer had before.
  Tensor loss(const Taps& student, const std::vector<Tensor>& teacher);
  void visit(Visitor& visitor) override;

 private:
  std::vector<HintPair> pairs_;
  /// Of a map the 1 x 1 convolution, of a vector the linear map; the other is null.
  struct Regressor : Module {
    std::unique_ptr<Conv2d> conv;
    std::unique_ptr<Linear> linear;
    void visit(Visitor& visitor) override;
  };
  std::vector<Regressor> regressors_;
  double weight_;
};

}  // namespace retort
