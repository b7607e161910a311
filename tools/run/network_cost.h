// What a network takes: bytes, parameters, multiplications, time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/registry.h"
#include "tools/run/training.h"

namespace retort {

struct NetworkCost {
  std::int64_t bytes = 0;  ///< of the file; 0: not known
  std::int64_t parameters = 0, macs = 0;
  double milliseconds = 0;  ///< one photo, prepared, on the device and threads in use; the median of some
};

/// `file` may be missing.
NetworkCost cost_of(Network& network, const ModelSpec& spec, const std::string& file);
/// Of the files that the run's guidance names; none where it names none.
std::vector<NetworkCost> costs_of_teachers(const TrainingRun& run);
/// An ensemble takes what its members take together.
NetworkCost sum_of(const std::vector<NetworkCost>& costs);

/// A row a cost: its name, "11.2 million" of each network, and, of several, what the last one saves beside the one
/// before it: "12 times fewer". What is not known is "-".
std::vector<std::vector<std::string>> cost_rows(const std::vector<NetworkCost>& costs);

}  // namespace retort
