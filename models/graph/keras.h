// Keras's models as a model file of the graph kind: .keras, .weights.h5 and the legacy .h5.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/io/hdf5.h"
#include "models/checkpoint.h"
#include "models/graph/keras_config.h"

namespace retort {

/// Before the name of a network that is built in: "keras:ResNet50".
inline constexpr const char* kKerasPrefix = "keras:";

/// Reads a classifier of images whose layers Keras itself has, channels last; see docs/guide/teacher.md for which. A
/// last softmax or sigmoid is left out and said; a single sigmoid becomes two classes. A first Rescaling or
/// Normalization becomes the normalisation of pixels; what keras.applications' networks take is known by their names,
/// and said. `network` is "" or "keras:NAME", for weights that have no config.json beside them. Throws Error naming
/// file and layer: a layer that is not known here, weights missing, left over or of another shape, and what
/// read_keras_config, read_hdf5 and ZipFile throw.
Checkpoint import_keras(const std::string& path, const std::string& network);
/// The same of what the files hold: for tests and fuzzers.
Checkpoint import_keras(const KerasModel& model, const Hdf5File& weights, const std::string& path);
/// Throws what import_keras throws before it looks for weights.
void check_keras_model(const KerasModel& model, const std::string& path);

/// The names of the networks that are built in: "keras:ResNet50", ...
std::vector<std::string> keras_networks();
/// One of them; its weights decide on how EfficientNet takes pixels. Throws Error for another name.
KerasModel keras_network(const std::string& name, const Hdf5File& weights);

/// How keras.applications' network of a model's name ("resnet50") takes pixels.
struct KerasPixels {
  bool bgr = false;        ///< blue first
  double mean[3], std[3];  ///< red first, of pixels in 0..1
  const char* words;
};
std::optional<KerasPixels> keras_pixels(const std::string& name);

}  // namespace retort
