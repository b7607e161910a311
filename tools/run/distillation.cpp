#include "tools/run/distillation.h"

#include <cmath>
#include <cstring>

#include "engine/core/check.h"
#include "engine/distill/teacher_report.h"
#include "tools/cli/progress.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

/// Takes augmentation, views and seed from the store, and refuses flags that say otherwise.
void follow_store(const std::string& path, const LogitStore& store, const AskedViews& asked, Guidance& guidance) {
  if (asked.count && *asked.count != store.views)
    throw UsageError(text("--views: ", path, " holds ", store.views, " views, not ", *asked.count));
  if (one_score_for_all_views(store, asked)) {
    guidance.augmentation = parse_augmentation(*asked.augment);
    guidance.views = 0;
    guidance.view_seed = asked.seed;
    return;
  }
  if (asked.augment) {
    if (parse_augmentation(*asked.augment) != store.augmentation)
      throw UsageError(text("--augment: teacher and student must see the same views, and those of ", path,
                            " were drawn otherwise; leave --augment out, or make the store with `logits --views K "
                            "--augment ",
                            *asked.augment, "`"));
  }
  guidance.augmentation = store.augmentation;
  guidance.views = store.views;
  guidance.view_seed = store.seed;
}

/// Plain kd's gradients can be compared beforehand; of the others only the weights are known.
std::string objective_line(const ObjectiveOptions& options, const DistillationSettings& settings) {
  const bool plain_kd = is_plain_kd(settings);
  const std::string loss = row_of(settings.loss).word;
  const std::string start =
      text("loss: ", plain_kd ? "" : loss + (settings.standardize ? " standardised, " : ", "),
           one_of(kConventions).word_of(options.convention), ", T = ", settings.temperature,
           options.temperature_end ? text(" to ", *options.temperature_end) : "", ", lambda = ", settings.lambda,
           options.lambda_end ? text(" to ", *options.lambda_end) : "");
  if (!plain_kd) return text(start, "; weights: hard ", settings.lambda, ", soft ", weight_of_soft(settings));
  const double hard = 100 * effective_hard_share(settings);
  return text(start, "; effective share: hard ", hard, "%, soft ", 100 - hard, "%");
}

}  // namespace

bool one_score_for_all_views(const LogitStore& store, const AskedViews& asked) {
  return store.views == 1 && !store.augmentation.any() && !asked.count && asked.augment &&
         parse_augmentation(*asked.augment).any();
}

void validate(const std::string& student, const TrainingOptions& training, const ObjectiveOptions& objective,
              bool stored) {
  validate(training);
  if (!is_architecture(student) && student != kGraph) throw UsageError(text("--student: ", no_architecture(student)));
  const SoftLossRow& loss = row_of(objective.loss);
  const auto check_blend = [&](const char* flag, double alpha) {
    if (alpha > 0 && loss.reads_labels)
      throw UsageError(text(flag, ": ", loss.word, " takes one label an image; use another --loss"));
    if (alpha > 0 && stored)
      throw UsageError(
          text(flag, ": a store has no logits for blended images; leave it out, or distil from a live --teacher"));
  };
  for (std::size_t i = 0; i < objective.constants.size(); ++i)
    if (const SoftLossRow& row = kSoftLosses[i]; objective.constants[i] && row.value != objective.loss)
      throw UsageError(text(row.constant.flag, ": is of --loss ", row.word, ", not of ", loss.word, "; leave one out"));
  check_blend("--mixup", training.mixup);
  check_blend("--cutmix", training.cutmix);
}

Guidance cached_guidance(const std::string& path, const StoredTeacher& stored, const AskedViews& asked) {
  Guidance guidance;
  follow_store(path, stored.store, asked, guidance);
  guidance.classes = stored.store.classes;
  guidance.notes["teacher"] = stored.store.teacher;
  guidance.fingerprint["--logits"] = stored.store.logits.hash();
  guidance.teacher =
      std::make_unique<CachedTeacher>(stored.store, stored.rows, one_score_for_all_views(stored.store, asked));
  return guidance;
}

void say_unseen_views(const std::string& path, const LogitStore& store, const AskedViews& asked, bool quiet) {
  if (one_score_for_all_views(store, asked))
    say(quiet, text("--augment: a picture's score in ", path,
                    " stands for all its views, which the teacher did not see; "
                    "`retort views` writes them for it to score"));
}

void say_teacher(const StoredTeacher& stored, const Dataset& train, const DistillationSettings& settings, bool quiet) {
  const auto n = static_cast<std::int64_t>(stored.rows.size());
  const Tensor labels = Tensor::empty({n}, DType::i64);
  for (std::int64_t i = 0; i < n; ++i) labels.data<std::int64_t>()[i] = train.labelled(i) ? train.label(i) : -1;
  const TeacherReport report = judge_teacher(stored.store.logits, labels, settings, stored.rows);
  const auto percent = [](double share) { return text(std::round(1000 * share) / 10, "%"); };
  std::string line = "teacher: ";
  if (report.labelled > 0)
    line += text("right on ", percent(report.agreement), " of ", report.labelled, " labelled pictures, ");
  say(quiet, text(line, percent(report.confidence), " sure on average; at T = ", settings.temperature, " ",
                  percent(report.entropy_share), " of the highest entropy. ", report.sentence));
}

void warn_of_binary_trap(const ObjectiveOptions& options, std::int64_t classes, bool quiet) {
  DistillationSettings settings;
  settings.loss = options.loss;
  settings.standardize = options.standardize_logits;
  const std::string warning = binary_trap(settings, classes);
  if (!warning.empty()) say(quiet, text("warning: ", warning));
}

void set_unlabelled(const UnlabelledOptions& options, const UnlabelledSets& sets, Guidance& guidance) {
  guidance.unlabelled_share = options.share;
  guidance.fingerprint["--unlabelled"] = describe(sets);
  UnlabelledOptions visited = options;
  visit_flags(visited, PrintFlags{.fingerprint = guidance.fingerprint});
}

void set_objective(const ObjectiveOptions& asked, const TrainingOptions& training, const Dataset& train,
                   Guidance& guidance) {
  const std::string& data = training.data.path;
  const bool quiet = training.common.quiet;
  ObjectiveOptions options = asked;
  if (!options.lambda) options.lambda = train.labelled() ? kDefaultLambda : 0;
  guidance.settings.temperature = options.temperature;
  guidance.settings.lambda = *options.lambda;
  guidance.settings.convention = options.convention;
  guidance.settings.loss = options.loss;
  guidance.settings.standardize = options.standardize_logits;
  guidance.settings.soft_weight = options.soft_weight;
  for (const std::optional<double>& constant : options.constants)
    if (constant) guidance.settings.constant = constant;  // the loss's own: validate
  guidance.schedule = {options.soft_ramp_epochs, options.temperature_end, options.lambda_end};
  if (!train.labelled() && options.lambda_end.value_or(0) != 0)
    throw UsageError(
        text("--lambda-end: ", *options.lambda_end, " weighs labels, and ", data, " has none; leave it out"));
  if (!train.labelled() && soft_reads_labels(options.loss))
    throw UsageError(text("--loss: ", row_of(options.loss).word, " reads labels, and ", data, " has none; use ",
                          soft_loss_words(/*without_labels=*/true)));
  const auto classes = static_cast<std::int64_t>(train.labelled() ? train.classes().size() : guidance.classes.size());
  warn_of_binary_trap(options, classes, quiet);
  visit_flags(options, PrintFlags{.fingerprint = guidance.fingerprint, .notes = &guidance.notes});
  say(quiet, objective_line(options, guidance.settings));
}

}  // namespace retort
