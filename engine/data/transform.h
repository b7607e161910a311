// From a decoded image to a network's input. A View says which part is seen and how; it is drawn once per (seed, epoch or
// view, sample name), and then rendered at each network's own size and normalisation: teacher and student see one crop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// What a network wants to be fed.
struct Preprocessing {
  std::int64_t image_size = 224;  ///< width = height
  std::int64_t channels = 3;
  std::vector<double> mean, std;  ///< of pixels in 0..1, one per channel

  friend bool operator==(const Preprocessing&, const Preprocessing&) = default;
};

struct Augmentation {
  bool flip = false;    ///< mirror left-right with probability 1/2
  bool crop = false;    ///< random resized crop: area 0.35..1 (or, for native sizes <= 64, shift by up to 1/8), aspect 3/4..4/3
  bool jitter = false;  ///< brightness, contrast, saturation within +-0.2; for MNIST-like data: shift up to 2 pixels
  bool any() const { return flip || crop || jitter; }
};

/// "none", or a comma list of flip, crop, jitter. Throws UsageError naming the unknown word.
Augmentation parse_augmentation(const std::string& list);

struct View {
  Box box;              ///< what is seen; may reach over the edge (filled with 0 before normalisation)
  bool flip = false;
  double brightness = 1, contrast = 1, saturation = 1;
};

/// The view of an evaluation: the largest centred square.
View centre_view(const Image& image);

/// The augmented view of a sample. `view` is the epoch, or the number of a cached view.
View draw_view(const Image& image, const Augmentation& augmentation, std::uint64_t seed, std::uint64_t view,
               const std::string& name);

/// Renders a view into out [image_size, image_size, channels] (NHWC order), normalised. Grey is repeated for 3-channel
/// networks; colour is reduced to luma for 1-channel ones.
void render(const Image& image, const View& view, const Preprocessing& preprocessing, float* out);

}  // namespace retort
