// The log of a run as it is read while the run goes on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/report/charts.h"

namespace retort {

/// One epoch's line: the numbers in it, by their keys in the log.
using LoggedEpoch = std::map<std::string, double>;

struct RunLog {
  std::string path, name;           ///< the name tells runs apart: the path without what all have in common
  std::vector<LoggedEpoch> epochs;  ///< in the file's order
};

/// A file that is not there yet is a run without epochs, and so is a last line that is being written. Throws Error
/// naming file and line for what is no log.
RunLog read_run_log(const std::string& path);
/// All of them, named.
std::vector<RunLog> read_run_logs(const std::vector<std::string>& paths);

struct LoggedCurves {
  std::string title;
  std::vector<Series> series;
};
/// Accuracy, loss and KL to the teacher over the epochs, those that there are: of one run its training and validation,
/// of several one curve each, of validation where all have that.
std::vector<LoggedCurves> curves_of(const std::vector<RunLog>& runs);

/// The epoch that is best on validation (training, where there is none): by accuracy, or by loss without labels; null
/// for a run without epochs.
const LoggedEpoch* best_epoch(const RunLog& run);

}  // namespace retort
