// What the parts of a batch give a step together: the sum of their gradients, and one move of batch norm's running
// statistics.
//
// With part i of m having the share s_i of the batch's rows (the s_i sum to 1), gradients g_i of its own mean loss
// times s_i, and running statistics that it moves from r to r_i, the step takes
//   g = ((g_1 + g_2) + ... + g_m),   r + ((s_1 r_1 - s_1 r) + ... + (s_m r_m - s_m r)),
// in this order; over the ranks of a group in rank order, each with the sum of its own parts. Since r_i = (1 -
// momentum) r + momentum b_i, that is one update by the mean of the parts' statistics b_i; what does not move stays bit
// for bit. A counter of batches moves once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

class StepSum {
 public:
  /// `trained`: handles of the parameters whose gradients are gathered. The network must outlive it.
  StepSum(Network& network, const std::vector<Tensor>& trained);

  /// Takes a part's gradients out of their slots, and its move of the running statistics back.
  void add(double share);
  /// Adds the ranks' sums, and hands them over: gradients to their slots, statistics and counters to the network.
  /// `brought`: which of them any rank has, a character each. Empty before a run's first step, in which the ranks ask
  /// each other; every other step has the same, even for a rank whose part has no rows.
  void finish(std::string& brought);

 private:
  void add_ranks(std::string& brought);

  struct Gradient {
    Tensor value;
    GradSlot sum;
  };
  struct Statistic {
    Tensor value, before;
    GradSlot moved;
  };
  struct Counter {
    Tensor value;
    std::int64_t before;
    bool moved = false;
  };
  Device device_;
  std::vector<Gradient> gradients_;
  std::vector<Statistic> statistics_;
  std::vector<Counter> counters_;
};

}  // namespace retort
