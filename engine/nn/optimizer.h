// Optimizers over a module's trainable parameters. See kernels/optimizer.h for the formulas.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

struct ParameterStep;  // kernels/optimizer.h

enum class OptimizerKind : std::uint8_t { sgd, adam, adamw };

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;                          ///< SGD
  bool nesterov = false;                          ///< SGD
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  ///< Adam, AdamW
  double weight_decay = 0;
  bool decay_vectors = true;  ///< false: parameters of rank 0 or 1, which are biases and norms, do not decay
  /// What the learning rate is multiplied by, by parameter name; 1 for those that are not named.
  std::map<std::string, double> lr_factors = {};
  /// The step, from 1, at which a parameter begins to move, by name; 1 for those that are not named. Their moments are
  /// gathered before.
  std::map<std::string, std::int64_t> first_steps = {};
  double max_norm = 0;  ///< clip the global gradient norm to this; 0: no clipping
};

class Optimizer {
 public:
  /// Keeps pointers to the parameters that require a gradient; the module must outlive it.
  Optimizer(const std::vector<Parameter*>& parameters, const OptimizerSettings& settings);

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
  /// Handles of the parameters that it moves.
  std::vector<Tensor> trained() const;

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
  /// Parameters that one launch takes: of one dtype, learning rate, weight decay and first step.
  struct Group {
    DType dtype;
    double lr_factor, weight_decay;
    std::int64_t first_step;
    std::vector<std::size_t> slots;
  };
  void make_groups();
  std::vector<ParameterStep> steps_of(std::span<const std::size_t> slots) const;  ///< of those that have a gradient
  void clip();

  std::vector<Group> groups_;
  Tensor scalars_;  ///< a StepScalars for each group, on the parameters' device
  Tensor norm_;     ///< f64 [1] there; empty without clipping
  std::int64_t steps_ = 0;
};

}  // namespace retort
