// Which part of an image is seen, and how: drawn from a counter, never from who asks.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/data/transform.h"

namespace retort {
namespace {

constexpr std::int64_t kSmallSide = 64;

bool small(const Image& image) { return std::max(image.width, image.height) <= kSmallSide; }

/// An integer in [-most, most].
double shift(Random& random, std::int64_t most) {
  return static_cast<double>(random.below(static_cast<std::uint64_t>(2 * most + 1))) - static_cast<double>(most);
}

/// A box of random area and aspect inside the image (Szegedy et al., arXiv 1409.4842, with a higher least area: a
/// lesser one often leaves the object out, and then the label is wrong).
Box random_crop(const Image& image, Random& random) {
  const double area = static_cast<double>(image.width) * static_cast<double>(image.height);
  const double log_aspect = std::log(4.0 / 3.0);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(0.35, 1), aspect = std::exp(random.uniform(-log_aspect, log_aspect));
    const std::int64_t width = std::llround(std::sqrt(target * aspect)),
                       height = std::llround(std::sqrt(target / aspect));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    const std::uint64_t x = random.below(static_cast<std::uint64_t>(image.width - width + 1));
    const std::uint64_t y = random.below(static_cast<std::uint64_t>(image.height - height + 1));
    return {static_cast<double>(x), static_cast<double>(y), static_cast<double>(width), static_cast<double>(height)};
  }
  return centre_view(image).box;
}

/// Shares of the side, in a square; where ten draws do not fit, nothing.
std::optional<Box> erased_box(Random& random) {
  const double log_aspect = std::log(1 / 0.3);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(0.02, 1.0 / 3), aspect = std::exp(random.uniform(-log_aspect, log_aspect));
    const double width = std::sqrt(area * aspect), height = std::sqrt(area / aspect);
    if (width >= 1 || height >= 1) continue;
    const double x = random.uniform(0, 1 - width), y = random.uniform(0, 1 - height);
    return Box{x, y, width, height};
  }
  return std::nullopt;
}

}  // namespace

Augmentation parse_augmentation(const std::string& list) {
  Augmentation augmentation;
  if (list == "none") return augmentation;
  std::istringstream words(list + ",");
  for (std::string word; std::getline(words, word, ',');) {
    if (word == "flip")
      augmentation.flip = true;
    else if (word == "crop")
      augmentation.crop = true;
    else if (word == "jitter")
      augmentation.jitter = true;
    else if (word == "erase")
      augmentation.erase = true;
    else if (word == "randaugment")
      augmentation.randaugment = true;
    else
      throw UsageError(
          text("--augment: unknown '", word, "'; give none, or some of flip,crop,jitter,erase,randaugment"));
  }
  return augmentation;
}

std::string format_augmentation(const Augmentation& augmentation) {
  std::string list;
  if (augmentation.flip) list += ",flip";
  if (augmentation.crop) list += ",crop";
  if (augmentation.jitter) list += ",jitter";
  if (augmentation.erase) list += ",erase";
  if (augmentation.randaugment) list += ",randaugment";
  return list.empty() ? "none" : list.substr(1);
}

View centre_view(const Image& image) {
  const std::int64_t side = std::min(image.width, image.height);
  const std::int64_t left = (image.width - side) / 2, top = (image.height - side) / 2;  // on whole pixels
  View view;
  view.box = {static_cast<double>(left), static_cast<double>(top), static_cast<double>(side),
              static_cast<double>(side)};
  return view;
}

View draw_view(const Image& image, const Augmentation& augmentation, std::uint64_t seed, std::uint64_t view,
               const std::string& name) {
  Random random = Random::of(seed, "view", view, name);
  View drawn = centre_view(image);
  if (augmentation.flip) drawn.flip = random.uniform() < 0.5;
  if (augmentation.crop) {
    if (small(image)) {
      const std::int64_t most = static_cast<std::int64_t>(drawn.box.width) / 8;
      drawn.box.x += shift(random, most);
      drawn.box.y += shift(random, most);
    } else {
      drawn.box = random_crop(image, random);
    }
  }
  if (augmentation.jitter) {
    if (small(image) && image.channels == 1) {
      drawn.box.x += shift(random, 2);
      drawn.box.y += shift(random, 2);
    } else {
      drawn.brightness = random.uniform(0.8, 1.2);
      drawn.contrast = random.uniform(0.8, 1.2);
      drawn.saturation = random.uniform(0.8, 1.2);
    }
  }
  // What came later draws later: the draws above stay what they were.
  if (augmentation.randaugment) drawn.operations = draw_operations(random, 2, 9.0 / 30);
  if (augmentation.erase && random.uniform() < 0.25) drawn.erased = erased_box(random);
  return drawn;
}

}  // namespace retort
