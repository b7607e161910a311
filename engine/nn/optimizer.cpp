#include "engine/nn/optimizer.h"

#include <array>

#include "engine/core/kernels.h"
#include "kernels/memory.h"

namespace retort {

Optimizer::Optimizer(std::vector<Parameter*> parameters, const OptimizerSettings& settings) : settings_(settings) {
  const bool adam = settings.kind != OptimizerKind::sgd;
  for (Parameter* parameter : parameters) {
    const Tensor& value = parameter->value;
    if (!value.requires_grad()) continue;
    Slot slot{parameter, {}, {}};
    if (adam || settings.momentum != 0) slot.first = Tensor::zeros(value.shape(), value.dtype(), value.device());
    if (adam) slot.second = Tensor::zeros(value.shape(), value.dtype(), value.device());
    slots_.push_back(std::move(slot));
  }
  const Device device = slots_.empty() ? Device::cpu : slots_.front().parameter->value.device();
  static_assert(sizeof(StepScalars) == 3 * sizeof(std::int64_t));
  scalars_ = Tensor::empty({3}, DType::i64, device);
  if (settings.max_norm > 0) norm_ = Tensor::from<double>({1}, std::array{0.0}).to(device);
}

void Optimizer::step(double lr) {
  prepare(lr);
  apply();
}

void Optimizer::prepare(double lr) {
  const StepScalars scalars{.lr = lr, .grad_scale = 1, .step = ++steps_};
  memory_of(scalars_.device()).upload({}, scalars_.raw(), &scalars, sizeof scalars);
}

void Optimizer::apply() {
  // One launch takes all parameters of a dtype.
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::vector<ParameterStep> steps;
    for (Slot& slot : slots_) {
      const Tensor& value = slot.parameter->value;
      const Tensor grad = value.grad();
      if (grad && value.dtype() == dtype)
        steps.push_back({value.count(), value.raw(), grad.raw(), slot.first.raw(), slot.second.raw()});
    }
    if (steps.empty()) continue;
    const OptimizerKernels& kernel = kernels(dtype, scalars_.device()).optimizer;
    auto* const scalars = static_cast<StepScalars*>(scalars_.raw());
    if (norm_) {
      const Workspace workspace(kernel.workspace_bytes(steps), scalars_.device());
      kernel.clip({}, steps, settings_.max_norm, scalars, static_cast<double*>(norm_.raw()), workspace.data());
    }
    if (settings_.kind == OptimizerKind::sgd)
      kernel.sgd({}, steps, {settings_.momentum, settings_.weight_decay, settings_.nesterov}, scalars);
    else
      kernel.adam({}, steps,
                  {settings_.beta1, settings_.beta2, settings_.eps, settings_.weight_decay,
                   settings_.kind == OptimizerKind::adamw},
                  scalars);
  }
  clear_grads();
}

double Optimizer::gradient_norm() const { return norm_ ? norm_.item() : 0; }

void Optimizer::clear_grads() {
  for (Slot& slot : slots_) slot.parameter->value.clear_grad();
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
