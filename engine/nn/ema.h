// The exponential moving average of a network's weights, which often does better than the last of them (Polyak &
// Juditsky 1992; Tarvainen & Valpola, arXiv 1703.01780).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

/// average = d * average + (1 - d) * value after each step, d = min(decay, (1 + step) / (10 + step)): so the start,
/// which is worth nothing, is soon forgotten, and short runs have an average too.
///
/// Running statistics are averaged like weights: to first order a layer's mean under averaged weights is the average of
/// its means, while the latest weights' own belong to other weights. Recalibration (engine/distill/recalibrate.h) makes
/// them exact. Counters are copied; what is frozen stays out, bit for bit.
class WeightAverage {
 public:
  /// Starts from the values as they are. Keeps pointers to the parameters; the module must outlive it. Throws
  /// UsageError for a decay outside (0, 1).
  WeightAverage(const std::vector<Parameter*>& parameters, double decay);

  /// Takes in the values that optimizer step `step` (from 1) left.
  void update(std::int64_t step);
  /// Exchanges the values of the parameters and of the average, where they lie.
  void swap();

  /// The average (the values themselves, while swapped) under the parameters' names, for the training state. Mutable
  /// handles.
  std::vector<std::pair<std::string, Tensor>> state();

  /// The module holds the average while this lives.
  class Scope {
   public:
    explicit Scope(WeightAverage& average) : average_(average) { average_.swap(); }
    ~Scope() { average_.swap(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    WeightAverage& average_;
  };

 private:
  struct Entry {
    Parameter* parameter;
    Tensor average;
  };
  std::vector<Entry> entries_;
  double decay_;
};

}  // namespace retort
