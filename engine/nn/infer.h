// A network in evaluation mode.
#pragma once

#include "engine/nn/module.h"

namespace retort {

/// The logits f32 [n, classes], on the network's device, of images [n, h, w, c] in evaluation mode, computed where the
/// network lies. `taps` may be null: see ForwardContext. Nothing is recorded.
Tensor infer(Network& network, const Tensor& images, Taps* taps = nullptr);

}  // namespace retort
