// The layers that a Keras model's configuration names, as one list: models within models are taken apart.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace retort {

struct KerasLayer {
  std::string name, kind;  ///< "conv1_conv", "Conv2D"
  nlohmann::json config;
  std::vector<std::int64_t> inputs;  ///< 0: the image, k: the result of layer k - 1
  std::vector<double> numbers;  ///< of an operation that is no layer, e.g. TrueDivide: what stands beside the tensor
  bool number_first = false;    ///< before it
  std::string folder;           ///< in .weights.h5: "layers/functional/layers/conv2d_1"
  std::string group;            ///< in the legacy .h5: the outermost model's name for it, or its own
};

struct KerasModel {
  std::string name;                 ///< "resnet50"
  std::vector<std::string> within;  ///< names of the models within it
  std::int64_t rows = -1, columns = -1, channels = -1;
  std::vector<KerasLayer> layers;  ///< the last gives the result
  bool before_keras_3 = false;     ///< where hard_sigmoid was another
};

/// Reads config.json, a model_config, or what model.to_json() gives: Sequential and Functional. `version` is Keras's,
/// "" if it is not known. Throws Error, its message beginning with `where`: what is no such configuration, a layer used
/// twice, several inputs or outputs, a layer that needs one which does not come before it.
KerasModel read_keras_config(const std::string& json, const std::string& version, const std::string& where);

/// In which order Keras lists the layers of a network, by which .weights.h5 numbers them: by distance from the output,
/// and then as a walk back from it meets them. `inputs` as in KerasLayer; element i of the result is the i-th layer.
std::vector<std::size_t> keras_order(const std::vector<std::vector<std::int64_t>>& inputs);

/// The folders of a model's own layers, which count the layers of each class.
class KerasFolders {
 public:
  explicit KerasFolders(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string next(const std::string& kind);

 private:
  std::string prefix_;
  std::map<std::string, int> counts_;
};

}  // namespace retort
