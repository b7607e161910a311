// A network in evaluation mode.
#pragma once

#include "engine/nn/module.h"
#include "engine/ops/prepared_filters.h"

namespace retort {

/// What a pass may take and give besides images and logits: see ForwardContext. Each may be null.
struct InferOptions {
  Taps* taps = nullptr;
  PreparedFilters* filters = nullptr;  ///< the network's own
};

/// The logits f32 [n, classes], on the network's device, of images [n, h, w, c] in evaluation mode, computed where the
/// network lies. Nothing is recorded.
Tensor infer(Network& network, const Tensor& images, const InferOptions& options = {});

}  // namespace retort
