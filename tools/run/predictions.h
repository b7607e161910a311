// What a model says of pictures, and the three forms in which it is told: what `retort predict` and a bundle share.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "models/registry.h"

namespace retort {

struct RankedClass {
  std::int64_t label;
  double probability;
};

/// Of each picture of a set, its most probable classes in falling order.
using Predictions = std::vector<std::vector<RankedClass>>;

/// The `top` most probable classes of each picture, at T = 1; of equals the lower class first. Throws Error naming the
/// picture that can't be decoded or whose logits are not numbers, Interrupted where the user asks to stop.
Predictions predict(const Model& model, const Dataset& dataset, std::int64_t top, bool quiet);

/// Whether the most probable class is another than the label.
bool wrong(const Dataset& dataset, std::int64_t index, const std::vector<RankedClass>& candidates);

/// What is told, and of which pictures.
struct Told {
  const Dataset& dataset;
  const std::vector<std::string>& classes;
  const Predictions& predictions;
  std::vector<std::int64_t> shown;  ///< indices of the dataset
};

/// A table: name, true class where known, prediction, the probability of every class, of which there must be as many
/// predictions.
std::string predictions_csv(const Told& told);
/// {"predictions": [{"file", "top": [{"class", "probability"}, ...], "true"}, ...]}
nlohmann::ordered_json predictions_json(const Told& told, std::int64_t top);
/// A line a picture on stdout.
void print_predictions(const Told& told, std::int64_t top);

}  // namespace retort
