// Files of weights in every form that is read here, as one: what read_safetensors gives. A file is known by its
// content, whatever it is called.
#pragma once

#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace retort {

struct Checkpoint {
  TensorFile file;
  std::vector<std::string> said;  ///< what the reader took for granted, a line each
};

/// Reads .safetensors; a bundle (models/bundle.h); .onnx (models/graph/onnx.h); .pth and .pt (models/pytorch.h), of
/// which FILE::NAME takes the state called NAME; .keras and .h5 (models/graph/keras.h), where FILE::keras:NAME is of a
/// network without its file. Throws Error for a form that is not read here, naming it and what to do, and what its
/// reader throws.
Checkpoint read_checkpoint(const std::string& path);

/// Whether --model names a network of Keras's that is built in: with --weights FILE it is FILE::NAME.
bool is_keras_network(const std::string& model);

/// The path without ::NAME.
std::string checkpoint_file(const std::string& path);

}  // namespace retort
