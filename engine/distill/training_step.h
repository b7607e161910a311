// One optimizer step: forward, loss, backward, update, of a batch that may be cut into parts, of which one at a time is
// in memory. Nothing in it waits for the device, so that on one that can the
// whole of it becomes a graph after the first step.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/core/graph.h"
#include "engine/distill/hints.h"
#include "engine/distill/step_sum.h"
#include "engine/nn/module.h"
#include "engine/nn/optimizer.h"
#include "engine/ops/loss.h"

namespace retort {

struct StepSettings {
  DistillationSettings distillation;  ///< with a teacher
  double label_smoothing = 0;
  std::optional<double> dropout;  ///< overrides the network's own
  double auxiliary_weight = 0;    ///< of the auxiliary head's loss; 0: the head is not run
  DType precision = DType::f32;   ///< of activations
  bool capture = false;           ///< make graphs of steps: in a group of devices, all ranks or none
  std::int64_t parts = 1;         ///< into which batches are cut, over all ranks
  bool sync_batch_norm = false;   ///< a rank has one part, and batch norm's statistics are those of all ranks' parts
  Hints* hints = nullptr;         ///< adds their loss; must outlive the step, and lie where the network does
};

/// What a step, or a part of one, is computed from, on the CPU or the step's device. What is not used is empty.
struct StepInputs {
  Tensor x = {};                                  ///< f32 [n, h, w, c]
  Tensor labels = {}, labels2 = {}, weight = {};  ///< as in Targets
  Tensor teacher = {};                            ///< logits f32 [n, classes]
  std::vector<Tensor> teacher_outputs = {};       ///< of the hints' layers
  Tensor dropout_key = {};
  Tensor objective = {};  ///< f64 [2, 3], LossScalars of rows with and without a label: set by the step itself
  /// Rows with a label, the first ones, where others have none; empty where all or none have one.
  std::optional<std::int64_t> labelled = {};
  std::int64_t whole = 0;  ///< rows of the whole batch, everybody's, where this is a part; 0: it is all of it
  double share() const { return whole > 0 ? static_cast<double>(x.shape()[0]) / static_cast<double>(whole) : 1; }
};

/// What a step gives, on its device: valid until the next step.
struct StepResults {
  Tensor logits;  ///< f32 [n, classes]
  Tensor total;   ///< f32 [1], the auxiliary head's loss and the hints' included
  Tensor parts;   ///< of the main head: f32 [3] = total, hard, soft with a teacher, else f32 [1] = hard; means over
                  ///< all rows, to which one without a label adds a hard part of 0
  Tensor teacher = {};  ///< the teacher's logits, where they were computed on the step's device
  Tensor hints = {};    ///< f32 [1], their loss, where there are some
};

/// A step's results on their way to the CPU.
class PendingResults {
 public:
  explicit PendingResults(const StepResults& results);
  /// Waits for them; on the CPU.
  StepResults wait();

 private:
  bool has_teacher_, has_hints_;
  Readback readback_;
};

class TrainingStep {
 public:
  /// Steps where the network lies. The network and the optimizer must outlive it.
  TrainingStep(Network& network, Optimizer& optimizer, const StepSettings& settings);

  /// Asks the device for a step with the learning rate. Rows without a label have lambda = 0: their soft term alone
  /// counts, with soft_weight under either convention. A loss of the batch (dist) is one of each kind of rows. Throws
  /// what the ops throw, and Error for rows without a label where there is no teacher.
  StepResults run(const StepInputs& given, double lr) { return run(std::span(&given, 1), lr).front(); }
  /// The step of a batch that is cut into settings.parts, of which some may be left out for want of rows: each runs
  /// forward and backward by itself, with its own statistics in batch norm, and one update follows
  /// (engine/distill/step_sum.h). Results of each part.
  std::vector<StepResults> run(std::span<const StepInputs> given, double lr);
  /// Computes what a step computes but for the update, and leaves network and optimizer as they were: to see what
  /// memory it takes.
  void rehearse(std::span<const StepInputs> given);
  /// Sets temperature, lambda and soft weight of the steps to come, captured or not; the rest must stay as it was.
  void distil_by(const DistillationSettings& settings) { settings_.distillation = settings; }
  /// Steps that ran as replays of a graph.
  std::int64_t replays() const { return replays_; }

 private:
  std::vector<StepInputs> with_objective(std::span<const StepInputs> given) const;
  /// Whether the device has room for the elements that steps have computed a second time so far.
  bool memory_is_ample() const;
  bool fits_graph(const std::vector<StepInputs>& inputs) const;
  std::vector<StepResults> compute(const std::vector<StepInputs>& parts, bool update = true);
  StepResults pass(const StepInputs& inputs, bool with_ranks, StepSum* takes_early);
  void capture(const std::vector<StepInputs>& inputs);

  Network& network_;
  Optimizer& optimizer_;
  StepSettings settings_;
  Device device_;
  std::optional<Graph> graph_;        ///< before what lives in its memory: it is destroyed last
  std::vector<StepInputs> captured_;  ///< on the device: what the graph reads
  std::vector<StepResults> results_;
  std::vector<Tensor> counters_;  ///< batch counters that a step moves on the CPU, where no replay goes
  std::vector<Shape> first_shapes_;
  std::int64_t first_whole_ = 0;
  RankPlan plan_;
  std::int64_t replays_ = 0;
  std::optional<bool> keep_;      ///< elements that could be computed again; empty until a step has shown how many
  std::size_t recomputable_ = 0;  ///< bytes of them in a step
};

}  // namespace retort
