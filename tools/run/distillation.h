// What the commands that distil share: the flags of the loss and of the teacher, and what a run is told of both.
#pragma once

#include <array>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "tools/run/stored_teacher.h"
#include "tools/run/training.h"

namespace retort {

inline constexpr Word<Convention> kConventions[] = {{Convention::convex, "convex"}, {Convention::additive, "additive"}};
inline constexpr const char* kLogitsHelp =
    "The teacher's logits: a store (.npy with its .json), or a .csv or .npy alone; of several, each picture's in the "
    "first that has it";
inline constexpr double kDefaultLambda = 0.1;

/// The loss of a distillation.
struct ObjectiveOptions {
  Convention convention = Convention::convex;
  SoftLoss loss = SoftLoss::kd;
  bool standardize_logits = false;
  std::array<std::optional<double>, std::size(kSoftLosses)> constants;  ///< of the losses' formulas; none: the papers'
  double soft_weight = 1, soft_ramp_epochs = 0;
  std::optional<double> temperature_end, lambda_end;
  double temperature = 4;
  std::optional<double> lambda;  ///< none: kDefaultLambda, or 0 without labels
};

/// The help of the flags that the commands word in their own way; null: the command has another flag of that name.
struct ObjectiveFlags {
  const char* temperature = "T > 0";
  const char* lambda = "Weight of the labels, in [0, 1]";
};

template <class Visitor>
void visit_flags(ObjectiveOptions& o, Visitor&& flag, const ObjectiveFlags& command = {}) {
  const FlagSubject subject(flag, "Objective", "--temperature 4 --lambda 0.1 --loss kd");
  const auto unless = [](bool is_default, double value) { return bits_as(is_default ? "" : plain(value)).noted(); };
  flag("--convention", o.convention, "{}", one_of(kConventions), bits().noted());
  flag("--loss", o.loss, "{}", one_of(kSoftLosses), bits_unless(o.loss == SoftLoss::kd).noted());
  for (std::size_t i = 0; i < o.constants.size(); ++i)
    if (const LossConstant& constant = kSoftLosses[i].constant; constant.flag)
      flag(constant.flag, o.constants[i], text(constant.what, " (default: ", constant.value, ")"), number_above(0),
           unless(!o.constants[i], o.constants[i].value_or(0)));
  flag("--standardize-logits", o.standardize_logits, "Standardise both networks' logits in the soft term", anything(),
       bits_unless(!o.standardize_logits).noted());
  flag("--soft-weight", o.soft_weight, "Multiplies the soft term", number_above(0),
       unless(o.soft_weight == 1, o.soft_weight));
  flag("--soft-ramp-epochs", o.soft_ramp_epochs, "Epochs over which the soft term's weight rises", number_from(0),
       unless(o.soft_ramp_epochs == 0, o.soft_ramp_epochs));
  flag("--temperature-end", o.temperature_end, "The temperature goes to this over the run (default: stays)",
       number_above(0), unless(!o.temperature_end, o.temperature_end.value_or(0)));
  flag("--lambda-end", o.lambda_end, "Lambda goes to this over the run (default: stays)", number_in("[0, 1]"),
       unless(!o.lambda_end, o.lambda_end.value_or(0)));
  if (command.temperature)
    flag("--temperature", o.temperature, command.temperature, number_above(0), bits_as(plain(o.temperature)).noted());
  if (command.lambda)
    flag("--lambda", o.lambda, text(command.lambda, " (default: ", kDefaultLambda, "; without labels 0)"),
         number_in("[0, 1]"), unless(!o.lambda, o.lambda.value_or(0)));
}

/// Throws UsageError for a student that is no architecture, and for --mixup beside a loss that takes one label an image
/// or, where `stored`, beside a store.
void validate(const std::string& student, const TrainingOptions& training, const ObjectiveOptions& objective,
              bool stored);

/// Views that the flags ask for, if they do.
struct AskedViews {
  std::optional<std::int64_t> count;
  std::optional<std::string> augment;
  std::uint64_t seed = 0;  ///< of views that the store does not have
};

/// Whether one score a picture, that of the picture as it is, has to serve all of its views: the flags ask for
/// augmentation, and the store has nothing else.
bool one_score_for_all_views(const LogitStore& store, const AskedViews& asked);
/// A run taught by a store, `path`. Augmentation, views and their seed are the store's; throws UsageError where others
/// are asked for. A store of one view of the pictures as they are goes with any augmentation: its score stands for the
/// crops, too.
Guidance cached_guidance(const std::string& path, const StoredTeacher& stored, const AskedViews& asked);
/// Says that the teacher has not seen the views, where one score serves them all.
void say_unseen_views(const std::string& path, const LogitStore& store, const AskedViews& asked, bool quiet);
/// Says what the teacher's stored logits promise, by those of the training pictures that the run begins with.
void say_teacher(const StoredTeacher& stored, const Dataset& train, const DistillationSettings& settings, bool quiet);
/// Says what two classes take from the loss. Throws UsageError where they leave nothing.
void warn_of_binary_trap(const ObjectiveOptions& options, std::int64_t classes, bool quiet);
/// Adds the pictures without labels, those of `sets`, to a run's guidance and its fingerprint.
void set_unlabelled(const UnlabelledOptions& options, const UnlabelledSets& sets, Guidance& guidance);
/// Adds the loss to a run's guidance, its notes and its fingerprint; says what it weighs, and warns of losses that two
/// classes make pointless. Throws UsageError for a loss that reads labels where there are none.
void set_objective(const ObjectiveOptions& options, const TrainingOptions& training, const Dataset& train,
                   Guidance& guidance);

}  // namespace retort
