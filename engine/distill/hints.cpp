#include "engine/distill/hints.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/ops/elementwise.h"

namespace retort {
namespace {

const LayerReport& layer_of(const std::vector<LayerReport>& layers, const std::string& name, const char* whose) {
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const LayerReport& l) { return l.name == name; });
  if (found == layers.end())
    throw UsageError(text("--hint: the ", whose, " has no layer '", name, "'; `retort summary` lists its layers, ",
                          layers.front().name, " ... ", layers.back().name));
  return *found;
}

}  // namespace

HintPair parse_hint(const std::string& words) {
  const std::size_t colon = words.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == words.size())
    throw UsageError(text("--hint: '", words, "' is no pair of layers; give TEACHER.LAYER:STUDENT.LAYER"));
  return {words.substr(0, colon), words.substr(colon + 1)};
}

Hints::Hints(HintSettings settings, const std::vector<LayerReport>& teacher, const std::vector<LayerReport>& student,
             std::uint64_t seed)
    : settings_(std::move(settings)) {
  Random random = Random::of(seed, "hints", 0);
  for (const HintPair& pair : settings_.pairs) {
    const Shape &from = layer_of(student, pair.student, "student").output,
                &to = layer_of(teacher, pair.teacher, "teacher").output;
    if (from.rank() != to.rank())
      throw UsageError(text("--hint: ", pair.teacher, " gives ", to, " and ", pair.student, " gives ", from,
                            "; pair two maps, or two vectors"));
    std::unique_ptr<HintComparison> comparison = make_hint_comparison(settings_.loss, from, to, random);
    if (!comparison)
      throw UsageError(text("--hint-loss attention: ", pair.teacher, " gives ", to,
                            ", a vector, which has no positions; pair two maps"));
    comparisons_.push_back(std::move(comparison));
  }
}

Taps Hints::student_taps() const {
  Taps taps;
  for (const HintPair& pair : settings_.pairs) taps.emplace(pair.student, Tensor());
  return taps;
}

Tensor Hints::loss(const Taps& student, const std::vector<Tensor>& teacher) {
  Tensor sum;
  for (std::size_t i = 0; i < comparisons_.size(); ++i) {
    const Tensor loss = comparisons_[i]->loss(cast(student.at(settings_.pairs[i].student), DType::f32),
                                              cast(teacher.at(i).detached(), DType::f32));
    sum = sum ? add(sum, loss) : loss;
  }
  return scale(sum, settings_.weight);
}

void Hints::visit(Visitor& visitor) { visitor("hint", comparisons_); }

}  // namespace retort
