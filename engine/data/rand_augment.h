// RandAugment (Cubuk et al., arXiv 1909.13719) with torchvision's ranges: a few operations drawn from a list, each at
// one strength.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/random.h"

namespace retort {

/// What can be done to a picture of samples in 0..255. Amounts grow with the strength s in [0, 1], in either direction
/// where there are two; what moves in from outside is black.
enum class ImageOperationKind : std::uint8_t {
  identity,
  shear_x,      ///< x moves by amount * y, up to 0.3 s, about the centre
  shear_y,      ///< y moves by amount * x, up to 0.3 s, about the centre
  translate_x,  ///< by a share of the side, up to 0.45 s
  translate_y,  ///< by a share of the side, up to 0.45 s
  rotate,       ///< by an angle in degrees, up to 30 s, about the centre
  brightness,   ///< times 1 + amount, up to 0.9 s
  contrast,     ///< times 1 + amount, up to 0.9 s, from the picture's mean luma
  saturation,   ///< times 1 + amount, up to 0.9 s, from each pixel's luma
  posterize,    ///< keeps the upper 8 - round(4 s) bits
  solarize,     ///< samples from 255 (1 - s) up become 255 less themselves
  autocontrast  ///< each channel is stretched to 0..255
};
inline constexpr int kImageOperations = 12;

struct ImageOperation {
  ImageOperationKind kind = ImageOperationKind::identity;
  double amount = 0;
};

/// `count` operations, each of any kind with the same probability, a kind's sign being drawn.
std::vector<ImageOperation> draw_operations(Random& random, int count, double strength);

/// Does one operation in place to a square picture [side, side, channels]. Geometry is bilinear.
void apply_operation(const ImageOperation& operation, std::int64_t side, std::int64_t channels,
                     std::span<float> samples);

}  // namespace retort
