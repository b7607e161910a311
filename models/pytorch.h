// PyTorch's .pth and .pt as tensors by name: the zip with a pickle that torch.save writes, and the form before 1.6. The
// pickle is read by a machine that executes nothing (engine/io/pickle.h).
#pragma once

#include <string>

#include "models/checkpoint.h"

namespace retort {

/// Reads a state dict, or the one called `state` of a checkpoint that holds several ("state_dict", "model_ema", ...);
/// empty: the usual one, and the others are said. Names lose `module.` and `_orig_mod.` where all have it, and timm's
/// VGG takes torchvision's. float32, float64, int64, and float16 and bfloat16 as float32; tensors of other types are
/// left out and said. Throws Error naming file and tensor: a whole module, a state that is not there, views beyond
/// their storage, and what the zip's and the pickle's readers throw.
Checkpoint read_pytorch(const std::string& path, const std::string& state);

}  // namespace retort
