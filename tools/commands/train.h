// retort train, for its callers: the flags, and the run that they ask for.
#pragma once

#include <string>

#include "tools/run/training.h"

namespace retort {

struct TrainOptions {
  std::string model;
  TrainingOptions training;
  RunOptions run;
};

template <class Visitor>
void visit_flags(TrainOptions& o, Visitor&& flag) {
  flag("--model", o.model,
       "Architecture, e.g. vgg16, resnet50, inception_v3, mlp:800x800, or a file that holds a network",
       required(anything()), bits_in("model"));
  visit_flags(o.training.common, flag);
  visit_flags(o.training.data, flag);
  visit_flags(o.run, flag);
  visit_flags(o.training, flag);
}

/// Opens the data. Throws UsageError for flags that do not go together.
TrainingRun make_run(const TrainOptions& options);

}  // namespace retort
