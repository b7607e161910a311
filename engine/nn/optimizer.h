// Optimizers over a module's trainable parameters. See kernels/optimizer.h for the formulas.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

enum class OptimizerKind : std::uint8_t { sgd, adam, adamw };

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;                          ///< SGD
  bool nesterov = false;                          ///< SGD
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  ///< Adam, AdamW
  double weight_decay = 0;
  double max_norm = 0;  ///< clip the global gradient norm to this; 0: no clipping
};

class Optimizer {
 public:
  /// Keeps pointers to the parameters that require a gradient; the module must outlive it.
  Optimizer(std::vector<Parameter*> parameters, const OptimizerSettings& settings);

  /// One step with the gathered gradients, which are then cleared. A parameter without a gradient stays as it is.
  void step(double lr);
  /// The two halves of a step: prepare() hands the device what changes from step to step, apply() launches the kernels,
  /// the same ones every time.
  void prepare(double lr);
  void apply();
  /// The gradients' norm before the last step's clipping; 0 when max_norm is 0: it is not computed. Waits for the
  /// device.
  double gradient_norm() const;
  void clear_grads();

  /// Moments under "<parameter>.<momentum|exp_avg|exp_avg_sq>", for the training state. Mutable handles.
  std::vector<std::pair<std::string, Tensor>> state();
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  struct Slot {
    Parameter* parameter;
    Tensor first, second;  ///< momentum, or Adam's two moments
  };
  std::vector<Slot> slots_;
  OptimizerSettings settings_;
  Tensor scalars_;  ///< a StepScalars on the parameters' device
  Tensor norm_;     ///< f64 [1] there; empty without clipping
  std::int64_t steps_ = 0;
};

}  // namespace retort
