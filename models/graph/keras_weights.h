// Where in an HDF5 file the weights of a Keras layer lie.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/io/hdf5.h"
#include "models/graph/keras_config.h"

namespace retort {

class KerasWeights {
 public:
  KerasWeights(const Hdf5File& file, const std::string& path);
  /// The values of variable `index` of a layer whose variables are called so, in Keras's order. Throws Error naming the
  /// layer where it is missing or has other extents.
  const std::vector<float>& take(const KerasLayer& layer, const std::vector<std::string>& variables, std::size_t index,
                                 const std::vector<std::int64_t>& dims);
  /// Throws Error naming a weight that no layer took.
  void check_all_taken(const std::vector<KerasLayer>& layers) const;

 private:
  std::string find(const KerasLayer& layer, const std::vector<std::string>& variables, std::size_t index) const;

  const Hdf5File& file_;
  const std::string& path_;
  bool legacy_ = false;  ///< groups by the layers' names
  std::string root_;     ///< of a legacy file that holds its model, too: "model_weights/"
  std::set<std::string> taken_;
};

}  // namespace retort
