// Samples of one size that stay in memory as bytes: what MNIST's and CIFAR's files hold.
#include "engine/data/formats.h"

#include "engine/core/check.h"
#include "engine/io/file.h"

namespace retort {
namespace {

class PackedDataset final : public Dataset {
 public:
  explicit PackedDataset(PackedSamples samples) : samples_(std::move(samples)) {
    classes_ = samples_.classes;
    native_size_ = samples_.width == samples_.height ? samples_.width : 0;
    native_channels_ = samples_.channels;
    names_.reserve(samples_.labels.size());
    for (std::size_t i = 0; i < samples_.labels.size(); ++i) {
      std::string number = std::to_string(i);
      if (number.size() < 5) number.insert(0, 5 - number.size(), '0');
      names_.push_back(samples_.part + "/" + number);
    }
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t index) const override { return names_[index]; }
  std::int64_t label(std::int64_t index) const override { return samples_.labels[index]; }

  Image load(std::int64_t index) const override {
    const std::span<const std::uint8_t> stored = record(index);
    Image image{samples_.width, samples_.height, samples_.channels, {}};
    image.pixels.assign(stored.begin(), stored.end());
    if (samples_.planar) {
      const std::int64_t plane = image.width * image.height;
      for (std::int64_t i = 0; i < plane; ++i)
        for (std::int64_t c = 0; c < image.channels; ++c) image.pixels[i * image.channels + c] = stored[c * plane + i];
    }
    return image;
  }

  bool decoded(std::int64_t) const override { return true; }
  std::string content_hash(std::int64_t index) const override { return retort::content_hash(record(index)); }

 private:
  std::span<const std::uint8_t> record(std::int64_t index) const {
    const std::size_t bytes = samples_.width * samples_.height * samples_.channels;
    return {samples_.pixels.data() + index * bytes, bytes};
  }

  PackedSamples samples_;
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<Dataset> make_packed_dataset(PackedSamples samples) {
  return std::make_unique<PackedDataset>(std::move(samples));
}

}  // namespace retort
