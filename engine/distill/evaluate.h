// Runs a network in evaluation mode over a dataset.
#pragma once

#include <functional>
#include <optional>

#include "engine/data/loader.h"
#include "engine/distill/metrics.h"
#include "engine/distill/teacher.h"
#include "engine/nn/infer.h"
#include "engine/nn/module.h"
#include "engine/ops/loss.h"

namespace retort {

struct EvaluateOptions {
  std::int64_t batch_size = 32;
  BatchParts parts;  ///< those that are computed here; the group's other ranks compute the others
  int workers = 1;
  Teacher* teacher = nullptr;                        ///< adds the soft metrics
  double temperature = 1;                            ///< of the soft metrics
  std::optional<DistillationSettings> distillation;  ///< with a teacher: adds Evaluation::soft_loss
  /// Called after each batch with the samples done so far; may throw to stop.
  std::function<void(std::int64_t done)> progress;
};

/// Centred views, no dropout, running statistics. Throws what the loader throws.
Evaluation evaluate(Network& network, const Dataset& dataset, const Preprocessing& preprocessing, std::int64_t classes,
                    const EvaluateOptions& options);

/// Throws what check_fits (engine/distill/memory_plan.h) throws where run_teacher would not fit into memory.
void check_teacher_fits(Teacher& teacher, const Dataset& dataset, const LoaderOptions& loading);

/// Logits of a teacher, view by view, from the row `first` on, which begins a batch: `add` gets each batch's, f32 [n,
/// classes] on the CPU, and returns whether to go on. The group's ranks take the batches in turn, and each gets them
/// all.
void run_teacher(Teacher& teacher, const Dataset& dataset, const LoaderOptions& loading, std::int64_t views,
                 std::int64_t first, const std::function<bool(const Tensor& logits)>& add);

/// All of them, f32 [views * samples, classes]: view by view, samples in the dataset's order. With views = 1 and
/// no augmentation the view is the centred one.
Tensor collect_logits(Teacher& teacher, const Dataset& dataset, std::int64_t classes, const LoaderOptions& loading,
                      std::int64_t views, const std::function<void(std::int64_t done)>& progress);

}  // namespace retort
