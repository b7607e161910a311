// Pictures drawn from a seed: coloured shapes on noisy ground for the demo, and stand-ins for photos.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// The classes, sorted by name as a folder of classes is.
const std::vector<std::string>& shape_names();

/// One picture of a class: the shape, bright, at a random place, size, tilt and colour over a dark gradient, with
/// grain. Depends on (seed, shape, number) alone.
Image draw_shape(std::int64_t shape, std::int64_t size, std::uint64_t seed, std::uint64_t number);

/// What keeps a JPEG decoder as busy as a photo: clouds of eight octaves whose strength falls with frequency, behind
/// shapes with sharp edges, with grain. Depends on (seed, number) alone.
Image draw_photo(std::int64_t width, std::int64_t height, std::uint64_t seed, std::uint64_t number);

/// Which pictures of each class: `count` from number `first` on.
struct Drawn {
  std::int64_t first, count;
};
/// Writes folder/<class>/0001.png ... Throws Error if the disk refuses.
void draw_class_folders(const std::string& folder, Drawn drawn, std::int64_t size, std::uint64_t seed);
/// Writes folder/0001.png ..., the classes in turn and unnamed. Throws as above.
void draw_pile(const std::string& folder, Drawn drawn, std::int64_t size, std::uint64_t seed);

}  // namespace retort
