#include "engine/distill/hints.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "engine/ops/pool.h"

namespace retort {
namespace {

const LayerReport& layer_of(const std::vector<LayerReport>& layers, const std::string& name, const char* whose) {
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const LayerReport& l) { return l.name == name; });
  if (found == layers.end())
    throw UsageError(text("--hint: the ", whose, " has no layer '", name, "'; `retort summary` lists its layers, ",
                          layers.front().name, " ... ", layers.back().name));
  return *found;
}

/// The mean of (a - b)^2 over all elements, [n, c] or [n, h, w, c] in f32: twice the soft term `mse` of them as rows.
/// No gradient reaches b.
Tensor mean_square(const Tensor& a, const Tensor& b) {
  if (a.shape().rank() == 4) return mean_square(flatten(a), flatten(b));
  DistillationSettings settings;
  settings.loss = SoftLoss::mse;
  return scale(distillation_loss(a, b, {}, settings).total, 2);
}

Tensor pooled_to(const Tensor& map, std::int64_t h, std::int64_t w) {
  return map.shape()[1] == h && map.shape()[2] == w ? map : adaptive_average_pool(map, h, w);
}

}  // namespace

HintPair parse_hint(const std::string& words) {
  const std::size_t colon = words.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == words.size())
    throw UsageError(text("--hint: '", words, "' is no pair of layers; give TEACHER.LAYER:STUDENT.LAYER"));
  return {words.substr(0, colon), words.substr(colon + 1)};
}

Hints::Hints(std::vector<HintPair> pairs, const std::vector<LayerReport>& teacher,
             const std::vector<LayerReport>& student, double weight, std::uint64_t seed)
    : pairs_(std::move(pairs)), weight_(weight) {
  Random random = Random::of(seed, "hints", 0);
  for (const HintPair& pair : pairs_) {
    const Shape &from = layer_of(student, pair.student, "student").output,
                &to = layer_of(teacher, pair.teacher, "teacher").output;
    if (from.rank() != to.rank())
      throw UsageError(text("--hint: ", pair.teacher, " gives ", to, " and ", pair.student, " gives ", from,
                            "; pair two maps, or two vectors"));
    Regressor& regressor = regressors_.emplace_back();
    const std::int64_t in = from[from.rank() - 1], out = to[to.rank() - 1];
    if (from.rank() == 4)
      regressor.conv =
          std::make_unique<Conv2d>(in, out, 1, 1, Conv2dOptions{}, true, Init::kaiming_uniform_default, random);
    else
      regressor.linear = std::make_unique<Linear>(in, out, Init::kaiming_uniform_default, random);
  }
}

Taps Hints::student_taps() const {
  Taps taps;
  for (const HintPair& pair : pairs_) taps.emplace(pair.student, Tensor());
  return taps;
}

Tensor Hints::loss(const Taps& student, const std::vector<Tensor>& teacher) {
  ForwardContext context;
  context.training = true;
  Tensor sum;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    Tensor s = cast(student.at(pairs_[i].student), DType::f32), t = cast(teacher.at(i).detached(), DType::f32);
    if (s.shape().rank() == 4) {
      const std::int64_t h = std::min(s.shape()[1], t.shape()[1]), w = std::min(s.shape()[2], t.shape()[2]);
      s = regressors_[i].conv->forward(pooled_to(s, h, w), context);
      t = pooled_to(t, h, w);
    } else {
      s = regressors_[i].linear->forward(s, context);
    }
    const Tensor loss = mean_square(s, t);
    sum = sum ? add(sum, loss) : loss;
  }
  return scale(sum, weight_);
}

void Hints::visit(Visitor& visitor) { visitor("hint", regressors_); }

void Hints::Regressor::visit(Visitor& visitor) {
  if (conv) conv->visit(visitor);
  if (linear) linear->visit(visitor);
}

}  // namespace retort
