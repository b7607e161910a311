#include "engine/distill/recalibrate.h"

#include <algorithm>

#include "engine/core/random.h"
#include "engine/core/tape.h"
#include "engine/data/pick.h"
#include "engine/ops/elementwise.h"

namespace retort {
namespace {

constexpr std::int64_t kSettled = 200, kRemembered = 20;  ///< steps

std::unique_ptr<Dataset> drawn_pictures(const Dataset& train, std::uint64_t seed, std::int64_t pictures) {
  std::vector<std::int64_t> samples = permutation(train.size(), Random::of(seed, "recalibrate"));
  samples.resize(static_cast<std::size_t>(std::min(pictures, train.size())));
  // Not owned: the caller keeps the dataset.
  return pick_samples(std::shared_ptr<const Dataset>(std::shared_ptr<void>(), &train), std::move(samples));
}

LoaderOptions in_order(LoaderOptions loading) {
  loading.preprocessings.resize(1);
  loading.shuffle = false;
  loading.plan.reset();
  loading.batch_size = part_size(loading.batch_size, loading.parts.count);
  loading.parts = {};
  loading.smallest = 2;      // batch norm cannot train on a single row
  loading.cache_bytes /= 4;  // the training's own loader has the rest
  return loading;
}

/// The counters of batches.
std::vector<std::pair<Tensor, std::int64_t>> counters(Network& network) {
  std::vector<std::pair<Tensor, std::int64_t>> found;
  for (const Parameter* parameter : parameters(network))
    if (parameter->value.dtype() == DType::i64)
      found.emplace_back(parameter->value, *parameter->value.data<std::int64_t>());
  return found;
}

}  // namespace

bool has_running_statistics(Network& network) {
  return std::ranges::any_of(parameters(network), [](const Parameter* parameter) {
    return parameter->name.ends_with("running_mean") && !parameter->frozen;
  });
}

bool recalibration_due(const RecalibrationSettings& settings, std::int64_t steps, std::int64_t steps_per_epoch) {
  switch (settings.when) {
    case RecalibrationSettings::When::off: return false;
    case RecalibrationSettings::When::always: return true;
    case RecalibrationSettings::When::automatic: break;
  }
  return steps < kSettled || steps_per_epoch < kRemembered;
}

Recalibration::Recalibration(const Dataset& train, const LoaderOptions& loading, std::int64_t pictures)
    : pictures_(drawn_pictures(train, loading.seed, pictures)), loading_(in_order(loading)) {}

std::int64_t Recalibration::run(Network& network, DType precision, bool auxiliary, std::uint64_t view) {
  if (!has_running_statistics(network)) return 0;
  const NoGrad no_grad;
  const auto before = counters(network);
  std::int64_t seen = 0;
  if (!loader_) loader_.emplace(*pictures_, loading_);
  loader_->start(0, view);
  for (Batch batch; loader_->next(batch);) {
    const auto rows = static_cast<std::int64_t>(batch.indices.size());
    seen += rows;
    Tensor unused;
    ForwardContext context;
    context.training = true;
    context.dropout = 0;
    if (auxiliary) context.auxiliary = &unused;
    // running = (1 - m) running + m batch with m = rows / rows so far is the mean over the rows; the first batch, with
    // m = 1, leaves nothing of what was there.
    context.momentum = static_cast<double>(rows) / static_cast<double>(seen);
    network.forward(cast(batch.inputs[0].to(device_of(network)), precision), context);
  }
  for (auto [counter, value] : before) *counter.data<std::int64_t>() = value;
  return seen;
}

}  // namespace retort
