#include "engine/distill/training_step.h"

#include <algorithm>
#include <array>

#include "engine/core/arena.h"
#include "engine/core/check.h"
#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/rows.h"
#include "kernels/memory.h"

namespace retort {
namespace {

auto members(auto& inputs) {
  std::vector all{&inputs.x,       &inputs.labels,      &inputs.labels2,  &inputs.weight,
                  &inputs.teacher, &inputs.dropout_key, &inputs.objective};
  for (auto& output : inputs.teacher_outputs) all.push_back(&output);
  return all;
}

std::vector<StepInputs> to(Device device, std::vector<StepInputs> parts) {
  for (StepInputs& inputs : parts)
    for (Tensor* tensor : members(inputs)) *tensor = tensor->to(device);
  return parts;
}

std::vector<Tensor> present(const StepResults& results) {
  std::vector<Tensor> list{results.logits, results.total, results.parts};
  if (results.teacher) list.push_back(results.teacher);
  if (results.hints) list.push_back(results.hints);
  return list;
}

/// The distillation loss of rows of which the first have a label: each kind's, weighed by its rows.
DistillationLoss partly_labelled_loss(const Tensor& z, const StepInputs& inputs, const Targets& targets,
                                      const DistillationSettings& settings) {
  const std::int64_t n = z.shape()[0], labelled = *inputs.labelled, unlabelled = n - labelled;
  check(inputs.teacher && labelled > 0 && unlabelled > 0, "[training step] ", labelled, " of ", n, " rows have a label",
        inputs.teacher ? "; give some of each kind" : ", and no teacher serves the others");
  const std::vector<Tensor> student = split_rows(z, std::array{labelled, unlabelled});
  const DistillationLoss with =
      distillation_loss(student[0], inputs.teacher.rows(0, labelled), first_rows(targets, labelled), settings);
  DistillationSettings soft = settings;
  soft.lambda = 0;
  ++soft.scalars;  // the second row of the objective
  const DistillationLoss without = distillation_loss(student[1], inputs.teacher.rows(labelled, unlabelled), {}, soft);
  const auto mean = [&](const Tensor& a, const Tensor& b) {
    const double rows = static_cast<double>(n);
    return add(scale(a, static_cast<double>(labelled) / rows), scale(b, static_cast<double>(unlabelled) / rows));
  };
  return {mean(with.total, without.total), mean(with.parts, without.parts)};
}

}  // namespace

PendingResults::PendingResults(const StepResults& results)
    : has_teacher_(static_cast<bool>(results.teacher)),
      has_hints_(static_cast<bool>(results.hints)),
      readback_(present(results)) {}

StepResults PendingResults::wait() {
  const std::vector<Tensor> read = readback_.wait();
  return {.logits = read[0],
          .total = read[1],
          .parts = read[2],
          .teacher = has_teacher_ ? read[3] : Tensor(),
          .hints = has_hints_ ? read.back() : Tensor()};
}

TrainingStep::TrainingStep(Network& network, Optimizer& optimizer, const StepSettings& settings)
    : network_(network), optimizer_(optimizer), settings_(settings), device_(device_of(network)) {}

/// The inputs and, with a teacher, the objective's scalars of now.
std::vector<StepInputs> TrainingStep::with_objective(std::span<const StepInputs> given) const {
  std::vector<StepInputs> parts(given.begin(), given.end());
  for (StepInputs& inputs : parts) {
    if (!inputs.teacher) continue;
    const DistillationSettings& now = settings_.distillation;
    inputs.objective = Tensor::from<double>({2, 3}, std::array{now.temperature, now.lambda, now.soft_weight,  //
                                                               now.temperature, 0.0, now.soft_weight});
    static_assert(sizeof(LossScalars) == 3 * sizeof(double));
  }
  return parts;
}

void TrainingStep::rehearse(std::span<const StepInputs> given) {
  std::vector<std::pair<Tensor, Tensor>> before;  // batch norm's statistics, which a forward pass moves
  for (Parameter* parameter : parameters(network_)) {
    const Tensor& value = parameter->value;
    if (!parameter->buffer) continue;
    before.emplace_back(value, Tensor::empty(value.shape(), value.dtype(), value.device()));
    before.back().second.copy_from(value);
  }
  compute(to(device_, with_objective(given)), /*update=*/false);
  optimizer_.clear_grads();
  for (auto& [value, kept] : before) value.copy_from(kept);
}

/// A graph has memory of its own, as large as what steps took so far: the elements have to fit into both.
bool TrainingStep::memory_is_ample() const {
  return memory_of(device_).free_bytes() >= memory_statistics(device_).peak_bytes + 2 * recomputable_;
}

/// Whether a graph of the first step serves these, too: parts of the same rows and kinds of rows, of a batch of the
/// same rows, so that all ranks say the same.
bool TrainingStep::fits_graph(const std::vector<StepInputs>& inputs) const {
  if (inputs.size() != first_shapes_.size() || inputs.front().whole != first_whole_) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].x.shape() != first_shapes_[i] || (graph_ && inputs[i].labelled != captured_[i].labelled))
      return false;
  return true;
}

std::vector<StepResults> TrainingStep::run(std::span<const StepInputs> given, double lr) {
  optimizer_.prepare(lr);
  const std::vector<StepInputs> inputs = with_objective(given);
  // The first step runs as it is: it finds what is wrong, and memory and kernels are then at hand. A last batch that is
  // shorter than the others has no graph either.
  const bool full = !first_shapes_.empty() && fits_graph(inputs);
  if (first_shapes_.empty())
    for (const StepInputs& part : inputs) {
      first_shapes_.push_back(part.x.shape());
      first_whole_ = part.whole;
    }
  if (full && !keep_) keep_ = recomputable_ > 0 && memory_is_ample();
  if (!settings_.capture || !full) return compute(to(device_, inputs));
  if (!graph_) {
    capture(inputs);
  } else {
    for (std::size_t part = 0; part < inputs.size(); ++part) {
      const auto from = members(inputs[part]);
      const auto into = members(captured_[part]);
      for (std::size_t i = 0; i < from.size(); ++i)
        if (*from[i]) into[i]->copy_from(*from[i]);
    }
    for (Tensor& counter : counters_) ++*counter.data<std::int64_t>();
  }
  graph_->replay();
  ++replays_;
  return results_;
}

void TrainingStep::capture(const std::vector<StepInputs>& inputs) {
  captured_ = to(device_, inputs);
  std::vector<std::pair<Tensor, std::int64_t>> before;
  for (Parameter* parameter : parameters(network_))
    if (parameter->value.dtype() == DType::i64)
      before.emplace_back(parameter->value, *parameter->value.data<std::int64_t>());
  graph_.emplace(device_);
  try {
    graph_->capture([this] { results_ = compute(captured_); });
  } catch (...) {
    graph_.reset();
    throw;
  }
  for (const auto& [counter, value] : before)
    if (*counter.data<std::int64_t>() != value) counters_.push_back(counter);
}

std::vector<StepResults> TrainingStep::compute(const std::vector<StepInputs>& parts, bool update) {
  const KeepScope keeping(keep_.value_or(false));
  std::vector<StepResults> results;
  std::optional<StepSum> sum;
  if (settings_.parts > 1) sum.emplace(network_, optimizer_.trained(), plan_);
  for (const StepInputs& part : parts) {
    const bool last = &part == &parts.back();
    results.push_back(pass(part, /*with_ranks=*/update, sum && update && last ? &*sum : nullptr));
    if (sum) sum->add(part.share());
  }
  recomputable_ = std::max(recomputable_, keeping.bytes());
  if (!update) return results;
  if (sum) sum->finish();
  optimizer_.apply();
  return results;
}

/// Forward and backward: leaves the gradients of the loss, times the part's share, in their slots, but for those that
/// are taken early.
StepResults TrainingStep::pass(const StepInputs& inputs, bool with_ranks, StepSum* takes_early) {
  Tape tape;
  if (takes_early) takes_early->take_early(tape);
  Tensor auxiliary;
  ForwardContext context;
  context.training = true;
  context.dropout_key = inputs.dropout_key;
  context.dropout = settings_.dropout;
  if (settings_.sync_batch_norm && with_ranks) context.batch_share = inputs.share();
  if (settings_.auxiliary_weight > 0) context.auxiliary = &auxiliary;
  Taps taps;
  if (settings_.hints) {
    taps = settings_.hints->student_taps();
    context.taps = &taps;
  }
  DistillationSettings distillation = settings_.distillation;
  distillation.scalars = static_cast<const LossScalars*>(inputs.objective.raw());
  const Targets targets{inputs.labels, inputs.labels2, inputs.weight, settings_.label_smoothing};
  StepResults results;
  results.logits = cast(network_.forward(cast(inputs.x, settings_.precision), context), DType::f32);
  const auto loss_of = [&](const Tensor& z) {
    if (!inputs.teacher && !inputs.labelled) return results.parts = cross_entropy(z, targets);
    const DistillationLoss loss = inputs.labelled ? partly_labelled_loss(z, inputs, targets, distillation)
                                                  : distillation_loss(z, inputs.teacher, targets, distillation);
    results.parts = loss.parts;
    return loss.total;
  };
  if (auxiliary) results.total = scale(loss_of(cast(auxiliary, DType::f32)), settings_.auxiliary_weight);
  const Tensor main = loss_of(results.logits);  // last: the parts are the main head's
  results.total = results.total ? add(main, results.total) : main;
  if (settings_.hints) {
    results.hints = settings_.hints->loss(taps, inputs.teacher_outputs);
    results.total = add(results.total, results.hints);
  }
  tape.backward(results.total, Tensor::full(results.total.shape(), inputs.share(), DType::f32, device_));
  for (Tensor* tensor : {&results.logits, &results.total, &results.parts, &results.hints})
    if (*tensor) *tensor = tensor->detached();
  return results;
}

}  // namespace retort
