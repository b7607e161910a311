// What the parts of a batch give a step together: the sum of their gradients, and one move of batch norm's running
// statistics.
//
// With part i of m having the share s_i of the batch's rows (the s_i sum to 1), gradients g_i of its own mean loss
// times s_i, and running statistics that it moves from r to r_i, the step takes
//   g = ((g_1 + g_2) + ... + g_m),   r + ((s_1 r_1 - s_1 r) + ... + (s_m r_m - s_m r)),
// in this order; over the ranks of a group in rank order, each with the sum of its own parts. Since r_i = (1 -
// momentum) r + momentum b_i, that is one update by the mean of the parts' statistics b_i; what does not move stays bit
// for bit. A counter of batches moves once.
//
// The ranks exchange their sums in buckets, in the order in which backward completes the gradients, as PyTorch's
// DistributedDataParallel does (Li et al. 2020, "PyTorch Distributed"). Where the group overlaps, a bucket is on its
// way while backward computes the next; an element's sum is the same however it is cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/core/tape.h"
#include "engine/nn/module.h"

namespace retort {

/// What the ranks exchange in every step of a run, even a rank whose part has no rows: they agree on it in the first.
/// A sum is named by its place among the gradients and, after them, the statistics.
struct RankPlan {
  std::vector<std::vector<std::size_t>> buckets;  ///< of the sums that any rank has; empty before the first step
  std::vector<bool> counters;                     ///< which counters move
};

class StepSum {
 public:
  /// `trained`: handles of the parameters whose gradients are gathered. `plan`: empty before a run's first step, which
  /// makes it. Network and plan must outlive it.
  StepSum(Network& network, const std::vector<Tensor>& trained, RankPlan& plan);

  /// To be said before the forward pass of a rank's last part: its gradients are taken as backward completes them, and
  /// buckets that are full go on their way.
  void take_early(Tape& tape);
  /// Takes a part's gradients out of their slots, and its move of the running statistics back.
  void add(double share);
  /// Adds the ranks' sums, and hands them over: gradients to their slots, statistics and counters to the network.
  void finish();

 private:
  struct Sum {
    GradSlot* slot;
    Shape shape;
  };
  Sum sum_at(std::size_t place);
  void take(std::size_t place);
  void agree();
  void start_bucket();
  void add_ranks();

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
  RankPlan& plan_;
  std::vector<std::size_t> completed_;  ///< gradients, in the order in which they were taken early
  std::vector<Tensor> under_way_;       ///< f32 [elements], the buckets that were started
};

}  // namespace retort
