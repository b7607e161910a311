// Image files for the tests of engine/data, and where the real ones are.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/data/dataset.h"
#include "tests/engine/io_scratch.h"

namespace retort::test {

/// (7 x + 13 y + 29 c + x y) mod 256: the picture that make_data_fixtures.py resizes.
inline Image pattern(std::int64_t width, std::int64_t height, std::int64_t channels) {
  Image image{width, height, channels, {}};
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < channels; ++c)
        image.pixels.push_back(static_cast<std::uint8_t>((7 * x + 13 * y + 29 * c + x * y) % 256));
  return image;
}

/// A binary PPM or PGM.
inline std::string pnm(const Image& image) {
  return (image.channels == 3 ? "P6\n" : "P5\n") + std::to_string(image.width) + " " + std::to_string(image.height) +
         "\n255\n" + std::string(image.pixels.begin(), image.pixels.end());
}

/// Writes a file, its folders too.
inline void put(const Scratch& scratch, const std::string& name, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(scratch / name).parent_path());
  scratch.write(name, content);
}

/// PPM files root/<class>/000.ppm and on; each sample's red at (0, 0) is its number.
inline void put_class(const Scratch& scratch, const std::string& folder, int count) {
  for (int i = 0; i < count; ++i) {
    Image image = pattern(12, 10, 3);
    image.pixels[0] = static_cast<std::uint8_t>(i);
    std::string number = std::to_string(i);
    number.insert(0, 3 - number.size(), '0');
    put(scratch, folder + "/" + number + ".ppm", pnm(image));
  }
}

/// A folder of the real data sets, in RETORT_DATA or beside the project; "" where there is none.
inline std::string real_data(const std::string& name) {
  const char* set = std::getenv("RETORT_DATA");
  const std::filesystem::path root = set != nullptr
                                         ? std::filesystem::path(set)
                                         : std::filesystem::path(__FILE__).parent_path() / "../../../shared/data";
  return std::filesystem::is_directory(root / name) ? (root / name).lexically_normal().string() : "";
}

}  // namespace retort::test
