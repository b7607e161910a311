// retort distill, for its callers: the flags, and the run that they ask for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/distill/teacher.h"
#include "tools/run/class_map.h"
#include "tools/run/distillation.h"

namespace retort {

/// A hint then weighs about a tenth of plain distillation where features are of the order of 1.
inline constexpr double kDefaultHintWeight = 1;

/// Who teaches: a store, or live networks. --teacher beside a store is checked against it.
struct TeacherOptions {
  std::vector<std::string> logits;
  std::string val_logits, teacher;
  Combine combine = Combine::logit;
  std::vector<double> weights;
  std::optional<std::int64_t> views;
  std::vector<std::string> hints;
  HintLoss hint_loss = HintLoss::regression;
  double hint_weight = kDefaultHintWeight;
  ClassMapOptions map;

  bool live() const { return logits.empty(); }
};

template <class Visitor>
void visit_flags(TeacherOptions& o, Visitor&& flag) {
  const FlagSubject subject(flag, "Teacher",
                            "--logits train.npy --val-logits val.npy, or --teacher teacher.safetensors");
  // A store has its own of these.
  const auto of_live = [&](std::string value) {
    return o.live() ? bits_as(std::move(value)) : no_bits("refused beside a store, or the store's own");
  };
  std::string weights;
  for (const double weight : o.weights) weights += text(weight, ",");
  flag("--logits", o.logits, kLogitsHelp, whole_words(anything()), bits_in("--logits"));
  flag("--val-logits", o.val_logits, "Store of the validation part", anything(),
       no_bits("what is measured; under --schedule plateau an entry of its own"));
  flag("--teacher", o.teacher, "Live teacher: FILE[,FILE...]; or self: the student itself, first trained on the labels",
       anything(), o.live() ? bits_in("--teacher") : no_bits("checked against the store"));
  flag("--combine", o.combine, "Of several teachers: {}", one_of(kCombines),
       of_live(one_of(kCombines).word_of(o.combine)));
  flag("--teacher-weights", o.weights, "One for each teacher (default: equal)", number_above(0),
       of_live(std::move(weights)));
  flag("--views", o.views, "A live teacher's views: epoch e sees view e mod K", whole_number(1),
       of_live(std::to_string(o.views.value_or(0))));
  flag("--hint", o.hints,
       "TEACHER.LAYER:STUDENT.LAYER: the student's layer learns the output of the live teacher's; `retort summary` "
       "lists layers",
       anything(), bits_unless(o.hints.empty()));
  flag("--hint-loss", o.hint_loss, "What the layers are compared by: {}", one_of(kHintLosses),
       bits_unless(o.hint_loss == HintLoss::regression));
  flag("--hint-weight", o.hint_weight, "Of the sum of the hints' losses", number_above(0),
       bits_unless(o.hint_weight == kDefaultHintWeight));
  visit_flags(o.map, flag);
}

struct DistillOptions {
  std::string student;
  TrainingOptions training;
  RunOptions run;
  TeacherOptions teacher;
  ObjectiveOptions objective;
  UnlabelledOptions unlabelled;
  std::vector<std::string> omit_classes;
};

template <class Visitor>
void visit_flags(DistillOptions& o, Visitor&& flag) {
  flag("--student", o.student, "Architecture, e.g. inception_v3, or a file that holds a network", required(anything()),
       bits_in("model"));
  visit_flags(o.training.common, flag);
  visit_flags(o.training.data, flag);
  visit_flags(o.run, flag);
  visit_flags(o.training, flag);
  visit_flags(o.teacher, flag);
  visit_flags(o.objective, flag);
  visit_flags(o.unlabelled, flag);
  flag("--omit-classes", o.omit_classes, "Train on no image of these classes; the student keeps them", anything(),
       bits_in("--omit-classes"));
}

/// Opens data and teacher. Throws UsageError for flags that do not go together, Error where data and teacher do not.
TrainingRun make_run(const DistillOptions& options);

}  // namespace retort
