// From a decoded image to a network's input. A View says which part is seen and how; it is drawn once per (seed, epoch
// or view, sample name), and then rendered at each network's own size and normalisation: teacher and student see one
// crop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/image.h"
#include "engine/data/rand_augment.h"

namespace retort {

/// What a network wants to be fed.
struct Preprocessing {
  std::int64_t image_size = 224;  ///< width = height
  std::int64_t channels = 3;
  std::vector<double> mean, std;  ///< of pixels in 0..1, one per channel

  friend bool operator==(const Preprocessing&, const Preprocessing&) = default;
};

/// An image is small if no side is longer than 64 pixels: MNIST's, CIFAR's.
struct Augmentation {
  /// Mirror left-right with probability 1/2.
  bool flip = false;
  /// A box of 0.35..1 of the area, aspect 3/4..4/3 (log-uniform), anywhere inside; where ten draws do not fit, the
  /// centre. A small image keeps its size and shifts by whole pixels, up to 1/8 of its side along each axis, black
  /// moving in.
  bool crop = false;
  /// Brightness, contrast and saturation times 0.8..1.2 each. A small grey image shifts by up to 2 pixels along each
  /// axis instead (Hinton et al., arXiv 1503.02531, section 3).
  bool jitter = false;
  /// With probability 1/4 a box of 0.02..1/3 of what is seen, aspect 0.3..3.3 (log-uniform), becomes the mean colour
  /// (Zhong et al., arXiv 1708.04896; as torchvision's RandomErasing).
  bool erase = false;
  /// Two operations of RandAugment at strength 9 of 30, torchvision's default (engine/data/rand_augment.h).
  bool randaugment = false;
  bool any() const { return flip || crop || jitter || erase || randaugment; }

  friend bool operator==(const Augmentation&, const Augmentation&) = default;
};

/// "none", or a comma list of flip, crop, jitter, erase, randaugment. Throws UsageError naming an unknown word.
Augmentation parse_augmentation(const std::string& list);
/// The list that parse_augmentation reads.
std::string format_augmentation(const Augmentation& augmentation);

struct View {
  Box box;  ///< what is seen; may reach over the edge (filled with 0 before normalisation)
  bool flip = false;
  double brightness = 1, contrast = 1, saturation = 1;
  std::vector<ImageOperation> operations = {};  ///< after these three
  std::optional<Box> erased = {};               ///< as shares of the side, in [0, 1]; filled with 0 after normalisation
};

/// The view of an evaluation: the largest centred square, at whole pixels.
View centre_view(const Image& image);

/// The augmented view of a sample, drawn from Random::of(seed, "view", view, name). `view` is the epoch, or the number
/// of a cached view.
View draw_view(const Image& image, const Augmentation& augmentation, std::uint64_t seed, std::uint64_t view,
               const std::string& name);

/// Renders a view into out [image_size, image_size, channels] (NHWC order): resized, then brightness, contrast and
/// saturation in this order (each clamped to 0..255), mirrored, the operations, normalised to (x / 255 - mean) / std.
/// Contrast is about the mean luma of what is seen. Grey is repeated for 3-channel networks; colour becomes luma (ITU-R
/// BT.601) for 1-channel ones. Throws Error on a preprocessing that is not 1 or 3 channels, each with a mean and a
/// positive std.
void render(const Image& image, const View& view, const Preprocessing& preprocessing, float* out);

}  // namespace retort
