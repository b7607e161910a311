#include "engine/nn/optimizer.h"

#include <cmath>

namespace retort {

Optimizer::Optimizer(std::vector<Parameter*> parameters, const OptimizerSettings& settings) : settings_(settings) {
  const bool adam = settings.kind != OptimizerKind::sgd;
  for (Parameter* parameter : parameters) {
    const Tensor& value = parameter->value;
    if (!value.requires_grad()) continue;
    Slot slot{parameter, {}, {}};
    if (adam || settings.momentum != 0) slot.first = Tensor::zeros(value.shape(), value.dtype());
    if (adam) slot.second = Tensor::zeros(value.shape(), value.dtype());
    slots_.push_back(std::move(slot));
  }
}

double Optimizer::step(double lr) {
  StepScalars scalars{.lr = lr, .grad_scale = 1, .step = ++steps_};
  double norm = 0;
  if (settings_.max_norm > 0) {
    double sum = 0;
    for (const Slot& slot : slots_)
      if (const Tensor grad = slot.parameter->value.grad())
        kernels(grad).optimizer.add_sum_of_squares({}, grad.count(), grad.raw(), &sum);
    norm = std::sqrt(sum);
    if (norm > settings_.max_norm) scalars.grad_scale = settings_.max_norm / norm;
  }

  const SgdSettings sgd{settings_.momentum, settings_.weight_decay, settings_.nesterov};
  const AdamSettings adam{settings_.beta1, settings_.beta2, settings_.eps, settings_.weight_decay,
                          settings_.kind == OptimizerKind::adamw};
  for (Slot& slot : slots_) {
    Tensor& value = slot.parameter->value;
    const Tensor grad = value.grad();
    if (!grad) continue;
    const OptimizerKernels& kernel = kernels(value).optimizer;
    if (settings_.kind == OptimizerKind::sgd)
      kernel.sgd({}, value.count(), sgd, &scalars, value.raw(), grad.raw(), slot.first.raw());
    else
      kernel.adam({}, value.count(), adam, &scalars, value.raw(), grad.raw(), slot.first.raw(), slot.second.raw());
  }
  clear_grads();
  return norm;
}

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
