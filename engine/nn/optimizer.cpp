#include "engine/nn/optimizer.h"

#include <algorithm>
#include <array>

#include "engine/core/kernels.h"
#include "kernels/memory.h"
#include "kernels/optimizer.h"

namespace retort {
namespace {

/// A parameter's own value; 1 where it has none.
template <class Value>
Value named(const std::map<std::string, Value>& values, const std::string& name) {
  const auto own = values.find(name);
  return own == values.end() ? 1 : own->second;
}

}  // namespace

Optimizer::Optimizer(const std::vector<Parameter*>& parameters, const OptimizerSettings& settings)
    : settings_(settings) {
  const bool adam = settings.kind != OptimizerKind::sgd;
  for (Parameter* parameter : parameters) {
    const Tensor& value = parameter->value;
    if (!value.requires_grad()) continue;
    Slot slot{parameter, {}, {}};
    if (adam || settings.momentum != 0) slot.first = Tensor::zeros(value.shape(), value.dtype(), value.device());
    if (adam) slot.second = Tensor::zeros(value.shape(), value.dtype(), value.device());
    slots_.push_back(std::move(slot));
  }
  make_groups();
  const Device device = slots_.empty() ? Device::cpu : slots_.front().parameter->value.device();
  static_assert(sizeof(StepScalars) == 3 * sizeof(std::int64_t));
  scalars_ =
      Tensor::empty({std::max<std::int64_t>(1, static_cast<std::int64_t>(groups_.size())), 3}, DType::i64, device);
  if (settings.max_norm > 0) norm_ = Tensor::from<double>({1}, std::array{0.0}).to(device);
}

void Optimizer::make_groups() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Parameter& parameter = *slots_[i].parameter;
    const bool decays = settings_.decay_vectors || parameter.value.shape().rank() > 1;
    const Group like{parameter.value.dtype(),
                     named(settings_.lr_factors, parameter.name),
                     decays ? settings_.weight_decay : 0,
                     named(settings_.first_steps, parameter.name),
                     {}};
    const auto same = [&](const Group& group) {
      return group.dtype == like.dtype && group.lr_factor == like.lr_factor &&
             group.weight_decay == like.weight_decay && group.first_step == like.first_step;
    };
    auto group = std::ranges::find_if(groups_, same);
    if (group == groups_.end()) group = groups_.insert(group, like);
    group->slots.push_back(i);
  }
}

void Optimizer::step(double lr) {
  prepare(lr);
  apply();
}

void Optimizer::prepare(double lr) {
  ++steps_;
  std::vector<StepScalars> scalars;
  for (const Group& group : groups_)
    scalars.push_back({.lr = steps_ < group.first_step ? 0 : lr * group.lr_factor, .grad_scale = 1, .step = steps_});
  if (scalars.empty()) return;
  memory_of(scalars_.device()).upload({}, scalars_.raw(), scalars.data(), scalars.size() * sizeof(StepScalars));
}

void Optimizer::apply() {
  auto* const scalars = static_cast<StepScalars*>(scalars_.raw());
  if (norm_) clip();
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    const std::vector<ParameterStep> steps = steps_of(group.slots);
    if (steps.empty()) continue;
    const OptimizerKernels& kernel = kernels(group.dtype, scalars_.device()).optimizer;
    if (settings_.kind == OptimizerKind::sgd)
      kernel.sgd({}, steps, {settings_.momentum, group.weight_decay, settings_.nesterov}, scalars + i);
    else
      kernel.adam(
          {}, steps,
          {settings_.beta1, settings_.beta2, settings_.eps, group.weight_decay, settings_.kind == OptimizerKind::adamw},
          scalars + i);
  }
  clear_grads();
}

std::vector<ParameterStep> Optimizer::steps_of(std::span<const std::size_t> slots) const {
  std::vector<ParameterStep> steps;
  for (const std::size_t i : slots) {
    const Slot& slot = slots_[i];
    const Tensor& value = slot.parameter->value;
    if (const Tensor grad = value.grad())
      steps.push_back({value.count(), value.raw(), grad.raw(), slot.first.raw(), slot.second.raw()});
  }
  return steps;
}

void Optimizer::clip() {
  auto* const scalars = static_cast<StepScalars*>(scalars_.raw());
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::vector<std::size_t> slots, groups;
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].parameter->value.dtype() == dtype) slots.push_back(i);
    for (std::size_t i = 0; i < groups_.size(); ++i)
      if (groups_[i].dtype == dtype) groups.push_back(i);
    const std::vector<ParameterStep> steps = steps_of(slots);
    if (steps.empty()) continue;
    const OptimizerKernels& kernel = kernels(dtype, scalars_.device()).optimizer;
    const Workspace workspace(kernel.workspace_bytes(steps), scalars_.device());
    StepScalars* const first = scalars + groups[0];
    kernel.clip({}, steps, settings_.max_norm, first, static_cast<double*>(norm_.raw()), workspace.data());
    // One norm for all: the other groups take the scale over.
    for (const std::size_t group : groups)
      if (group != groups[0])
        memory_of(scalars_.device()).copy({}, &scalars[group].grad_scale, &first->grad_scale, sizeof first->grad_scale);
  }
}

double Optimizer::gradient_norm() const { return norm_ ? norm_.item() : 0; }

void Optimizer::clear_grads() {
  for (Slot& slot : slots_) slot.parameter->value.clear_grad();
}

std::vector<Tensor> Optimizer::trained() const {
  std::vector<Tensor> values;
  for (const Slot& slot : slots_) values.push_back(slot.parameter->value);
  return values;
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() {
  std::vector<std::pair<std::string, Tensor>> state;
  const bool adam = settings_.kind != OptimizerKind::sgd;
  for (const Slot& slot : slots_) {
    if (slot.first) state.emplace_back(slot.parameter->name + (adam ? ".exp_avg" : ".momentum"), slot.first);
    if (slot.second) state.emplace_back(slot.parameter->name + ".exp_avg_sq", slot.second);
  }
  return state;
}

}  // namespace retort
