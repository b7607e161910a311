#include "engine/data/measure.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/check.h"
#include "kernels/threads.h"
#include "tests/engine/data_files.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Pictures that are given, or a fault where one is empty.
class Pictures final : public Dataset {
 public:
  Pictures(std::vector<Image> images, std::int64_t channels) : images_(std::move(images)) {
    native_channels_ = channels;
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  const std::string& name(std::int64_t) const override { return name_; }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t index) const override {
    const Image& image = images_[static_cast<std::size_t>(index)];
    check(!image.pixels.empty(), "picture ", index);
    return image;
  }
  std::string content_hash(std::int64_t) const override { return {}; }

 private:
  std::vector<Image> images_;
  std::string name_ = "picture";
};

}  // namespace

TEST_CASE("measure_pixels: each channel's mean and deviation over all pixels, larger pictures weighing more") {
  const Pictures two({{2, 1, 3, {0, 51, 255, 102, 51, 0}}, {1, 1, 3, {51, 51, 0}}}, 3);
  const PixelStatistics found = measure_pixels(two);
  REQUIRE(found.mean.size() == 3);
  CHECK(found.mean[0] == doctest::Approx(0.2).epsilon(1e-15));
  CHECK(found.mean[1] == doctest::Approx(0.2).epsilon(1e-15));
  CHECK(found.mean[2] == doctest::Approx(1.0 / 3).epsilon(1e-15));
  CHECK(found.std[0] == doctest::Approx(std::sqrt(0.08 / 3)).epsilon(1e-15));  // 0, 0.4, 0.2
  CHECK(found.std[1] == 1);                                                    // the same everywhere
  CHECK(found.std[2] == doctest::Approx(std::sqrt(2.0) / 3).epsilon(1e-15));
}

TEST_CASE("measure_pixels: grey among colour and colour among grey") {
  const std::vector<Image> both = {{1, 1, 1, {255}}, {1, 1, 3, {255, 0, 0}}};
  const PixelStatistics colour = measure_pixels(Pictures(both, 3));
  CHECK(colour.mean == std::vector<double>{1, 0.5, 0.5});
  const PixelStatistics grey = measure_pixels(Pictures(both, 1));
  REQUIRE(grey.mean.size() == 1);
  CHECK(grey.mean[0] == doctest::Approx((255 + 76) / 510.0));  // 0.299 * 255 = 76.2
}

TEST_CASE("measure_pixels: the same bits for any number of threads") {
  std::vector<Image> images;
  for (int i = 0; i < 300; ++i) images.push_back(pattern(1 + i % 7, 3, 3));
  const Pictures pictures(images, 3);
  const int threads = num_threads();
  const PixelStatistics expected = measure_pixels(pictures);
  for (const int count : {1, 2, 5}) {
    set_num_threads(count);
    const PixelStatistics found = measure_pixels(pictures);
    CHECK(found.mean == expected.mean);
    CHECK(found.std == expected.std);
  }
  set_num_threads(threads);
}

TEST_CASE("measure_pixels: the first picture that cannot be read, and none at all") {
  std::vector<Image> images(200, pattern(2, 2, 3));
  images[70].pixels.clear();
  images[190].pixels.clear();
  CHECK_THROWS_WITH_AS(measure_pixels(Pictures(images, 3)), "picture 70", Error);
  CHECK_THROWS_AS(measure_pixels(Pictures({}, 3)), Error);
}

TEST_CASE("measure_pixels: MNIST's own numbers") {
  if (real_data("mnist").empty()) {
    MESSAGE("skipped: no folder mnist in RETORT_DATA");
    return;
  }
  DatasetOptions options;
  options.path = real_data("mnist");
  options.val_split = 0;
  const PixelStatistics found = measure_pixels(*open_dataset(options));
  CHECK(std::abs(found.mean.at(0) - 0.1307) <= 5e-5);
  CHECK(std::abs(found.std.at(0) - 0.3081) <= 5e-5);
}
