// What a pair of layers is compared by, the student's output s and the teacher's t: maps [n, h, w, c], whose larger is
// averaged down to the smaller's extents, or vectors [n, c].
//
// regression (FitNets, Romero et al., arXiv 1412.6550): the mean over all elements of (r(s) - t)^2, r a 1 x 1
//   convolution or a linear layer from the student's channels to the teacher's.
// attention (Zagoruyko & Komodakis, arXiv 1612.03928): where a map is large, |a(s) - a(t)|^2 in the mean over the
// images,
//   a(x) the mean over the channels of x^2 as a vector of all positions, at unit length. No layer of its own; maps
//   alone.
// contrast (after Tian et al., arXiv 1910.10699): which picture of the batch it is. With u and v of unit length, u = A
// s
//   and v = B t from the means over positions, A and B linear layers to 128 that are trained with the student, the mean
//   cross-entropy of the logits u_i . v_j / 0.07 to the label j = i. The other pictures of the batch take the place of
//   the paper's bank of 16,384.
#pragma once

#include <memory>

#include "engine/nn/layers.h"

namespace retort {

enum class HintLoss : std::uint8_t { regression, attention, contrast };

struct HintLossRow {
  HintLoss value;
  const char* word;
};
inline constexpr HintLossRow kHintLosses[] = {
    {HintLoss::regression, "regression"}, {HintLoss::attention, "attention"}, {HintLoss::contrast, "contrast"}};

/// The comparison of one pair of layers, with the parameters that it trains.
class HintComparison : public Module {
 public:
  /// f32 [1]; s and t f32, of as many images. No gradient reaches t. Throws Error where one of them has other channels
  /// than the layer had before.
  virtual Tensor loss(const Tensor& s, const Tensor& t) = 0;
  void visit(Visitor&) override {}
};

/// `student` and `teacher`: the shapes of the layers' outputs, [n, h, w, c] or [n, c], of one rank. Null where the loss
/// does not compare such outputs.
std::unique_ptr<HintComparison> make_hint_comparison(HintLoss loss, const Shape& student, const Shape& teacher,
                                                     Random& random);

}  // namespace retort
