// An .onnx classifier as a model file of the graph kind: what read_safetensors gives for one that was saved here.
#pragma once

#include <string>

#include "models/checkpoint.h"

namespace retort {

/// Reads a classifier of images: opset 11 to 23, one input [n, c, h, w] or [n, h, w, c], logits [n, classes]. Shapes
/// and constants are computed here, a last softmax or sigmoid is left out and said, weights keep their names where they
/// have some. Metadata of the file called classes, image_size, mean and std count as a model file's own. Throws Error
/// naming file, node or tensor, op and reason: ops and forms of them that are not known here, values that no node
/// before gives (a cycle), and what read_onnx throws.
Checkpoint import_onnx(const std::string& path);

}  // namespace retort
