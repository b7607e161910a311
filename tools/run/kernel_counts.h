// What the simulator counted of a command's kernels, as text and as JSON, with modelled times beside it.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/cli/options.h"

namespace retort {

/// Counts and modelled times of each kernel and geometry, and the modelled time of all.
struct CountedCall {
  nlohmann::ordered_json json;
  std::string text;  ///< a few lines a kernel, indented
};
/// What the kernels of a call in the simulator do.
CountedCall count_call(const std::function<void()>& call);

/// Throws UsageError for --counters FILE of a command that does not compute in the simulator.
void check_counters(const std::string& path, Device device);

/// From here on the simulator runs so many blocks of each launch, on a device of the compute capability (80 or 90) with
/// an H200's memory, and counts for all of them.
void sample_launches(std::int64_t blocks, int compute_capability);

inline constexpr const char* kCountersHelp =
    "With --device simt: what each kernel asks of memory and tensor cores, counted, and times modelled from it (.json)";

/// Counts from here on, for --counters FILE; with an empty path nothing.
class CountedRun {
 public:
  /// Throws what check_counters throws, and Error where the file cannot be written.
  CountedRun(const std::string& path, Device device);
  ~CountedRun();
  CountedRun(const CountedRun&) = delete;
  CountedRun& operator=(const CountedRun&) = delete;
  /// Ends the counting and writes the file.
  void write();

 private:
  struct State;
  std::string path_;
  std::unique_ptr<State> state_;  ///< null: nothing is counted
};

}  // namespace retort
