// The `logits` command as a function, for the demo.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/distill/teacher.h"
#include "tools/cli/options.h"

namespace retort {

struct LogitsOptions {
  CommonOptions common;
  DataOptions data;
  std::string model, out, csv;
  bool no_labels = false;  ///< the folders of the data are no classes
  Combine combine = Combine::logit;
  std::vector<double> teacher_weights;
  std::optional<std::string> augment;
  std::int64_t views = 1, batch_size = 32;
  bool resume = false, restart = false;
  bool half = false;                ///< --dtype f16
  std::optional<std::int64_t> top;  ///< --top-k
  ClassMapOptions map;
};

/// Runs the teachers over one part of the data and writes the store. Throws Interrupted, having kept the rows that are
/// done (engine/distill/partial_logits.h); Error where such rows are there and neither resume nor restart is asked for.
void run_logits(const LogitsOptions& options);

}  // namespace retort
