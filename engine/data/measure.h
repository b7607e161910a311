// The mean and deviation of a dataset's pixels, for sets that are normalised by what they are.
#pragma once

#include <vector>

#include "engine/data/dataset.h"

namespace retort {

struct PixelStatistics {
  std::vector<double> mean, std;  ///< of pixels in 0..1, one a channel; what Preprocessing takes
};

/// Per channel, over all pixels of all samples, with the deviation of the population (divided by n). Sums are of
/// integers, so the result does not depend on the number of threads, which share the samples. Grey samples of a colour
/// set count for all three channels, colour ones of a grey set as their luma, rounded. A channel that is the same
/// everywhere has the deviation 1: dividing by it then does no harm. Throws Error on an empty dataset, and what load
/// throws for the first sample that cannot be read.
PixelStatistics measure_pixels(const Dataset& dataset);

}  // namespace retort
