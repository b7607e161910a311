// The HTML page about a run: settings, data, curves, what the student has learnt of whom, and sample predictions.
#pragma once

#include <string>

#include "tools/run/training.h"

namespace retort {

/// A finished run. `network` is as it was after the last epoch.
struct FinishedRun {
  const TrainingRun& training;
  const ModelSpec& spec;
  Network& network;
  const Fingerprint& fingerprint;
  const TrainingOutcome& outcome;
};

/// Looks at the validation part, and with a teacher at up to 2,000 training images, and writes the page that the run
/// names, atomically. Throws Interrupted.
void write_report(const FinishedRun& run);

}  // namespace retort
