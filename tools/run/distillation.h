// What `distill` and `sweep` share: the flags of the loss, the teacher's store, and what a run is told of both.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/run/stored_teacher.h"
#include "tools/run/training.h"

namespace retort {

struct DistillOptions : TrainingOptions {
  std::string student, logits, val_logits, teacher;
  std::string combine = "logit", convention = "convex", loss = "kd";
  double temperature = 4, soft_weight = 1, soft_ramp_epochs = 0;
  std::optional<double> lambda, temperature_end, lambda_end;
  std::vector<std::string> omit_classes;
  std::vector<double> teacher_weights;
  std::int64_t views = 0;
  bool standardize_logits = false;
};

/// The training flags, --student, --logits and the flags of the loss, but for --temperature and --lambda.
void add_distillation_options(CLI::App& command, DistillOptions& options);
/// Throws UsageError naming the first flag out of its range, the training flags among them.
void validate(const DistillOptions& options);

/// Reads --logits for the training part. Throws Error where store and images, or store and --teacher, do not match.
StoredTeacher open_stored_teacher(const DistillOptions& options, const Dataset& train);

/// A run taught by a store. Augmentation, views and their seed are the store's; throws UsageError for flags that say
/// otherwise.
Guidance cached_guidance(const DistillOptions& options, const StoredTeacher& stored);
/// Says what two classes take from the loss that the options ask for. Throws UsageError where they leave nothing.
void warn_of_binary_trap(const DistillOptions& options, std::int64_t classes);
/// Adds the loss to a run's guidance, its notes and its fingerprint; says what it weighs, and warns of losses that two
/// classes make pointless. Throws UsageError for a loss that reads labels where there are none.
void set_objective(const DistillOptions& options, const Dataset& train, Guidance& guidance);

}  // namespace retort
