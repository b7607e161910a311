// What `forward` and `grad` share: images as an array, and a model that fits it.
#pragma once

#include <string>

#include "engine/core/tensor.h"
#include "models/registry.h"
#include "tools/cli/options.h"

namespace retort {

/// Reads float32 [N, C, H, W], already normalised, N >= 1. Throws Error naming the file, what it holds and what to do.
Tensor read_images(const std::string& path);

/// --model FILE, or --model ARCH with --weights FILE, for images [N, C, H, W]. An ARCH takes its channels and size from
/// the array and as many classes as the file's head has. Throws Error if the array's channels are not the model's.
Model open_model_for_array(const std::string& model, const std::string& weights, const Tensor& images,
                           const std::string& images_path, const CommonOptions& common);

/// Rows [begin, end) along the first axis, copied.
Tensor copy_rows(const Tensor& tensor, std::int64_t begin, std::int64_t end);

/// "float32 [8, 3, 224, 224]"
std::string describe(const Tensor& tensor);

}  // namespace retort
