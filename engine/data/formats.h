// The forms a data set takes on disk, behind open_dataset. For this folder's own files.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace retort {

/// The parts of a set. Opening is deferred, so that asking for one part reads no other. An empty function: no such
/// part.
struct SplitOpeners {
  using Open = std::function<std::unique_ptr<Dataset>()>;
  Open train, val, test;
  /// Puts a cache between all parts, open ones too, and their image files. Empty: no part has any.
  std::function<void(const PixelCacheHooks&)> open_cache = {};
  /// Its parts' sizes are known for folders of images alone.
  DataReading reading = {};
  std::vector<std::int64_t> train_counts = {};  ///< of a folder's training part, by class
  std::vector<std::string> images = {};         ///< of a folder's parts, each as the part's folder + its name
};

/// MNIST's IDX files; nothing if the folder holds none.
std::optional<SplitOpeners> recognise_idx(const std::string& folder);
/// CIFAR's binary files; nothing if the folder holds none.
std::optional<SplitOpeners> recognise_cifar(const std::string& folder);
/// Folders of classes, or a flat folder. Throws Error if it is neither.
SplitOpeners recognise_image_folder(const DatasetOptions& options);

/// What a packed file unpacks to: samples of one size, in memory.
struct PackedSamples {
  std::string part;  ///< "train" or "test": the first half of a sample's name
  std::int64_t width = 0, height = 0, channels = 0;
  bool planar = false;               ///< channels one after the other (CIFAR), else interleaved
  std::vector<std::uint8_t> pixels;  ///< sample after sample
  std::vector<std::int64_t> labels;
  std::vector<std::string> classes;
};
std::unique_ptr<Dataset> make_packed_dataset(PackedSamples samples);

}  // namespace retort
