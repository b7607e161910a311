#include "tools/run/predictions.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/data/loader.h"
#include "engine/io/csv.h"
#include "engine/nn/infer.h"
#include "engine/ops/softmax.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"

namespace retort {
namespace {

/// The `top` most probable classes; of equals the lower class first.
std::vector<RankedClass> best(const float* probabilities, std::int64_t classes, std::int64_t top) {
  std::vector<std::int64_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + top, order.end(), [&](std::int64_t a, std::int64_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  std::vector<RankedClass> candidates;
  for (std::int64_t i = 0; i < top; ++i) candidates.push_back({order[i], probabilities[order[i]]});
  return candidates;
}

}  // namespace

Predictions predict(const Model& model, const Dataset& dataset, std::int64_t top, bool quiet) {
  const NoGrad no_grad;
  const std::int64_t classes = static_cast<std::int64_t>(model.spec.classes.size());
  LoaderOptions loading;
  loading.preprocessings = {model.spec.preprocessing};
  loading.workers = std::min(4, num_threads());
  loading.cache_bytes = 0;  // one pass
  Loader loader(dataset, loading);
  loader.start(0, 0);
  Predictions predictions(static_cast<std::size_t>(dataset.size()));
  Progress bar("predict", dataset.size(), quiet);
  std::int64_t done = 0;
  PreparedFilters filters;
  for (Batch batch; loader.next(batch);) {
    if (interrupted()) throw Interrupted{};
    const Tensor probabilities = softmax(infer(*model.network, batch.inputs[0], {.filters = &filters})).to(Device::cpu);
    for (std::size_t row = 0; row < batch.indices.size(); ++row) {
      const float* p = probabilities.data<float>() + static_cast<std::int64_t>(row) * classes;
      check(std::none_of(p, p + classes, [](float value) { return value != value; }), dataset.name(batch.indices[row]),
            ": the model's output is not a number; its weights are broken, train it again");
      predictions[batch.indices[row]] = best(p, classes, top);
    }
    bar.update(done += static_cast<std::int64_t>(batch.indices.size()));
  }
  return predictions;
}

bool wrong(const Dataset& dataset, std::int64_t index, const std::vector<RankedClass>& candidates) {
  return dataset.labelled(index) && candidates.front().label != dataset.label(index);
}

std::string predictions_csv(const Told& told) {
  const auto& [dataset, classes, predictions, shown] = told;
  std::string lines = dataset.labelled() ? "name,true,prediction" : "name,prediction";
  for (const std::string& name : classes) lines += "," + csv_field(name);
  lines += "\n";
  for (const std::int64_t i : shown) {
    lines += csv_field(dataset.name(i));
    if (dataset.labelled()) lines += "," + (dataset.labelled(i) ? csv_field(classes[dataset.label(i)]) : "");
    lines += "," + csv_field(classes[predictions[i].front().label]);
    std::vector<double> probabilities(classes.size());
    for (const RankedClass& candidate : predictions[i]) probabilities[candidate.label] = candidate.probability;
    for (const double probability : probabilities) {
      char digits[24];
      std::snprintf(digits, sizeof digits, ",%.6g", probability);
      lines += digits;
    }
    lines += "\n";
  }
  return lines;
}

nlohmann::ordered_json predictions_json(const Told& told, std::int64_t top) {
  const auto& [dataset, classes, predictions, shown] = told;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::int64_t i : shown) {
    nlohmann::ordered_json candidates = nlohmann::ordered_json::array();
    for (std::int64_t k = 0; k < top; ++k)
      candidates.push_back(
          {{"class", classes[predictions[i][k].label]}, {"probability", predictions[i][k].probability}});
    nlohmann::ordered_json entry = {{"file", dataset.name(i)}, {"top", candidates}};
    if (dataset.labelled(i)) entry["true"] = classes[dataset.label(i)];
    list.push_back(std::move(entry));
  }
  return {{"predictions", list}};
}

void print_predictions(const Told& told, std::int64_t top) {
  const auto& [dataset, classes, predictions, shown] = told;
  for (const std::int64_t i : shown) {
    std::cout << visible_name(dataset.name(i));
    for (std::int64_t k = 0; k < top; ++k) {
      char percent[16];
      std::snprintf(percent, sizeof percent, "%.2f%%", 100 * predictions[i][k].probability);
      std::cout << "  " << visible_name(classes[predictions[i][k].label]) << " " << percent;
    }
    if (wrong(dataset, i, predictions[i]))
      std::cout << "  (labelled " << visible_name(classes[dataset.label(i)]) << ")";
    std::cout << "\n";
  }
}

}  // namespace retort
