#include "tools/run/run_log.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

struct Metric {
  const char* key;  ///< behind train_ and val_
  const char* title;
  double scale;
};
constexpr Metric kMetrics[] = {{"accuracy", "accuracy, %", 100}, {"loss", "loss", 1}, {"kl", "KL to the teacher", 1}};

bool has(const RunLog& run, const std::string& key) {
  return std::any_of(run.epochs.begin(), run.epochs.end(),
                     [&](const LoggedEpoch& epoch) { return epoch.contains(key); });
}

Series series_of(const RunLog& run, const std::string& key, const std::string& name, double scale) {
  Series series{name, {}};
  for (const LoggedEpoch& epoch : run.epochs)
    if (const auto found = epoch.find(key); found != epoch.end())
      series.points.push_back({epoch.at("epoch"), scale * found->second});
  return series;
}

/// The part of the paths that tells them apart: without the folders that all lie in, and the ending.
std::vector<std::string> names_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> parts;
  for (const std::string& path : paths) parts.push_back(fs::path(path).lexically_normal());
  fs::path common = parts.front().parent_path();
  for (const fs::path& path : parts)
    while (!common.empty() &&
           std::mismatch(common.begin(), common.end(), path.begin(), path.end()).first != common.end())
      common = common.parent_path();
  std::vector<std::string> names;
  for (const fs::path& path : parts) {
    fs::path name = common.empty() ? path : path.lexically_relative(common);
    names.push_back(name.replace_extension().generic_string());
  }
  return names;
}

}  // namespace

RunLog read_run_log(const std::string& path) {
  RunLog run{.path = path, .name = path, .epochs = {}};
  std::error_code error;
  if (!fs::exists(path, error)) return run;
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const std::optional<nlohmann::json> parsed = try_parse_json(line);
    if (!parsed && stream.eof()) break;  // under way
    const nlohmann::json json = parsed.value_or(nullptr);
    check(json.is_object() && json.contains("epoch") && json["epoch"].is_number(), path, ": line ", number,
          " is no epoch of a run; give a file that --log wrote");
    LoggedEpoch epoch;
    for (const auto& [key, value] : json.items())
      if (value.is_number()) epoch[key] = value.get<double>();
    run.epochs.push_back(std::move(epoch));
  }
  return run;
}

std::vector<RunLog> read_run_logs(const std::vector<std::string>& paths) {
  const std::vector<std::string> names = names_of(paths);
  std::vector<RunLog> runs;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    runs.push_back(read_run_log(paths[i]));
    runs.back().name = names[i];
  }
  return runs;
}

std::vector<LoggedCurves> curves_of(const std::vector<RunLog>& runs) {
  std::vector<LoggedCurves> all;
  for (const Metric& metric : kMetrics) {
    const std::string val = text("val_", metric.key), train = text("train_", metric.key);
    const auto have = [&](const std::string& key) {
      return std::all_of(runs.begin(), runs.end(),
                         [&](const RunLog& run) { return run.epochs.empty() || has(run, key); }) &&
             std::any_of(runs.begin(), runs.end(), [&](const RunLog& run) { return has(run, key); });
    };
    LoggedCurves curves{metric.title, {}};
    if (runs.size() == 1) {
      if (have(train)) curves.series.push_back(series_of(runs[0], train, "training", metric.scale));
      if (have(val)) curves.series.push_back(series_of(runs[0], val, "validation", metric.scale));
    } else if (have(val) || have(train)) {
      curves.title += have(val) ? " on validation" : " in training";
      for (const RunLog& run : runs)
        curves.series.push_back(series_of(run, have(val) ? val : train, run.name, metric.scale));
    }
    if (!curves.series.empty()) all.push_back(std::move(curves));
  }
  return all;
}

const LoggedEpoch* best_epoch(const RunLog& run) {
  const std::string part = has(run, "val_loss") ? "val_" : "train_";
  const bool labelled = has(run, part + "accuracy");
  const auto rank = [&](const LoggedEpoch& epoch) {
    const auto found = epoch.find(part + (labelled ? "accuracy" : "loss"));
    if (found == epoch.end()) return -std::numeric_limits<double>::infinity();
    return labelled ? found->second : -found->second;
  };
  const auto best = std::max_element(run.epochs.begin(), run.epochs.end(),
                                     [&](const LoggedEpoch& a, const LoggedEpoch& b) { return rank(a) < rank(b); });
  return best == run.epochs.end() ? nullptr : &*best;
}

}  // namespace retort
