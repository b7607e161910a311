#include "engine/distill/bias.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace retort {
namespace {

/// What a sample says: below `margin` it is given to its best other class, above to its best shifted one.
struct Vote {
  double margin;
  bool wrong_below, wrong_above;
};

std::vector<Vote> votes_of(const Tensor& logits, const Tensor& labels, const std::vector<bool>& shifted) {
  const auto classes = static_cast<std::int64_t>(shifted.size());
  std::vector<Vote> votes;
  for (std::int64_t row = 0; row < logits.shape()[0]; ++row) {
    const float* z = logits.data<float>() + row * classes;
    std::int64_t best[2] = {-1, -1};  // of the classes that stay, of those that are shifted
    for (std::int64_t i = 0; i < classes; ++i) {
      std::int64_t& leader = best[shifted[static_cast<std::size_t>(i)]];
      if (leader < 0 || z[i] > z[leader]) leader = i;
    }
    const std::int64_t label = labels.data<std::int64_t>()[row];
    votes.push_back({double{z[best[0]]} - z[best[1]], best[0] != label, best[1] != label});
  }
  std::ranges::sort(votes, {}, &Vote::margin);
  return votes;
}

}  // namespace

Shift best_shift(const Tensor& logits, const Tensor& labels, const std::vector<std::int64_t>& classes) {
  std::vector<bool> shifted(static_cast<std::size_t>(logits.shape()[1]));
  for (const std::int64_t index : classes) shifted.at(static_cast<std::size_t>(index)) = true;
  const auto count = std::ranges::count(shifted, true);
  check(count > 0 && count < logits.shape()[1], "bias: ", count, " of ", logits.shape()[1],
        " classes to shift; name at least one and not all");
  check(logits.shape()[0] > 0, "bias: no samples to tune on; give some");
  const std::vector<Vote> votes = votes_of(logits, labels, shifted);

  // With a shift below every margin nothing goes to the shifted classes; each margin that is passed moves one sample.
  std::int64_t errors = 0;
  Shift best;
  for (const Vote& vote : votes) {
    errors += vote.wrong_below;
    best.errors_before += vote.margin < 0 ? vote.wrong_above : vote.wrong_below;
  }
  best.errors = best.errors_before;
  for (std::size_t i = 0; i <= votes.size(); ++i) {
    const bool first = i == 0, last = i == votes.size();
    if (first || last || votes[i - 1].margin < votes[i].margin) {
      const double value = first  ? votes.front().margin - 1
                           : last ? votes.back().margin + 1
                                  : (votes[i - 1].margin + votes[i].margin) / 2;
      if (errors < best.errors ||
          (errors == best.errors && best.value != 0 && std::fabs(value) < std::fabs(best.value))) {
        best.errors = errors;
        best.value = value;
      }
    }
    if (!last)
      errors += static_cast<std::int64_t>(votes[i].wrong_above) - static_cast<std::int64_t>(votes[i].wrong_below);
  }
  return best;
}

}  // namespace retort
