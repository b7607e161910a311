// The HTML page about a run: settings, data, curves, what the student has learnt of whom, and sample predictions.
#pragma once

#include <string>

#include "tools/run/training.h"

namespace retort {

/// A finished run. `network` is as it was after the last epoch.
struct FinishedRun {
  const TrainingOptions& options;
  const ModelSpec& spec;
  Network& network;
  const TrainingData& data;
  const Guidance& guidance;
  const Fingerprint& fingerprint;
  const TrainingOutcome& outcome;
};

/// Looks at the validation part, and with a teacher at up to 2,000 training images, and writes the page, atomically.
/// Throws Interrupted.
void write_report(const std::string& path, const FinishedRun& run);

}  // namespace retort
