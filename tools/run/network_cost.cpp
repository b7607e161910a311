#include "tools/run/network_cost.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/distill/evaluate.h"
#include "tools/run/stock_model.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

constexpr int kRepeats = 5;

double milliseconds_a_photo(Network& network, const Preprocessing& input) {
  const NoGrad no_grad;
  const Tensor photo = Tensor::zeros({1, input.image_size, input.image_size, input.channels}).to(device_of(network));
  std::vector<double> times;
  for (int i = 0; i <= kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    infer(network, photo).to(Device::cpu);  // waits for the device
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  times.erase(times.begin());  // the first allocates
  std::ranges::nth_element(times, times.begin() + kRepeats / 2);
  return times[kRepeats / 2];
}

/// "11.2 million", "7,850".
std::string scaled(double value, const char* thousand, const char* million, const char* billion) {
  const auto with = [](double scaled_value, const char* unit) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.3g%s", scaled_value, unit);
    return std::string(digits);
  };
  if (value >= 999.5e6) return with(value / 1e9, billion);
  if (value >= 999.5e3) return with(value / 1e6, million);
  if (value >= 999.5) return with(value / 1e3, thousand);
  return with(value, "");
}

/// "12 times smaller", or "-" where one of them is not known.
std::string ratio_words(double value, double reference, const char* less, const char* more) {
  if (value <= 0 || reference <= 0) return "-";
  const double ratio = std::max(value, reference) / std::min(value, reference);
  constexpr double kSame = 1.05;
  if (ratio < kSame) return "the same";
  char digits[40];
  std::snprintf(digits, sizeof digits, ratio < 9.95 ? "%.1f" : "%.0f", ratio);
  return text(digits, " times ", value < reference ? less : more);
}

}  // namespace

NetworkCost cost_of(Network& network, const ModelSpec& spec, const std::string& file) {
  NetworkCost cost;
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(file, missing);
  if (!missing) cost.bytes = static_cast<std::int64_t>(bytes);
  for (const Parameter* parameter : parameters(network))
    if (!parameter->buffer) cost.parameters += parameter->value.count();
  for (const LayerReport& layer : layers_of(network, spec.preprocessing)) cost.macs += layer.macs;
  cost.milliseconds = milliseconds_a_photo(network, spec.preprocessing);
  return cost;
}

std::vector<NetworkCost> costs_of_teachers(const TrainingRun& run) {
  std::vector<NetworkCost> costs;
  const std::vector<std::string> files = split_commas(run.guidance.teacher_files);
  if (files.empty()) return costs;
  std::vector<Model> models = load_teachers(run.guidance.teacher_files, compute_device(run.options.common));
  for (std::size_t i = 0; i < models.size(); ++i)
    costs.push_back(cost_of(*models[i].network, models[i].spec, i < files.size() ? files[i] : ""));
  return costs;
}

NetworkCost sum_of(const std::vector<NetworkCost>& costs) {
  NetworkCost sum;
  for (const NetworkCost& cost : costs) {
    sum.bytes += cost.bytes;
    sum.parameters += cost.parameters;
    sum.macs += cost.macs;
    sum.milliseconds += cost.milliseconds;
  }
  return sum;
}

std::vector<std::vector<std::string>> cost_rows(const std::vector<NetworkCost>& costs) {
  std::vector<std::vector<std::string>> rows;
  // Nothing is compared with a network of which it is not known.
  const auto add = [&](const char* name, const auto& value, const auto& as_text, const char* less, const char* more) {
    std::vector<std::string> row = {name};
    for (const NetworkCost& cost : costs) row.push_back(value(cost) > 0 ? as_text(value(cost)) : "-");
    if (costs.size() > 1) row.push_back(ratio_words(value(costs.back()), value(costs[costs.size() - 2]), less, more));
    rows.push_back(std::move(row));
  };
  const auto count = [](double value) { return scaled(value, " thousand", " million", " billion"); };
  const auto bytes = [](double value) { return scaled(value, " kB", " MB", " GB") + (value < 999.5 ? " bytes" : ""); };
  const auto of = [](auto NetworkCost::*member) {
    return [member](const NetworkCost& cost) { return static_cast<double>(cost.*member); };
  };
  add("file", of(&NetworkCost::bytes), bytes, "smaller", "larger");
  add("parameters", of(&NetworkCost::parameters), count, "fewer", "more");
  add("multiply-adds a photo", of(&NetworkCost::macs), count, "fewer", "more");
  add("milliseconds a photo", of(&NetworkCost::milliseconds), count, "faster", "slower");
  return rows;
}

}  // namespace retort
