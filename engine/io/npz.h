// NumPy's .npz: a zip archive of .npy files, one an array, which np.load opens.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// Arrays under names, in this order, stored uncompressed. Atomic. Throws Error for what write_npy refuses, and for an
/// archive of 4 GiB or more, or of more than 65,534 arrays, which its plain form has no numbers for.
void write_npz(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& arrays);

}  // namespace retort
