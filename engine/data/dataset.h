// A dataset: named samples, decoded on demand. open_dataset recognises every form of `--data`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace retort {

enum class Split : std::uint8_t { train, val };

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual std::int64_t size() const = 0;
  /// Path relative to the split's folder with forward slashes ("cat/001.jpg"), or "train/00042" for packed formats.
  virtual const std::string& name(std::int64_t index) const = 0;
  /// In [0, classes().size()), or -1 in an unlabelled set.
  virtual std::int64_t label(std::int64_t index) const = 0;
  /// Decodes one sample; safe from several threads. Throws Error naming the file.
  virtual Image load(std::int64_t index) const = 0;
  /// XXH64-like 64-bit hash of the sample's stored bytes as 16 hex digits (the file's content; the packed record).
  virtual std::string content_hash(std::int64_t index) const = 0;

  /// Class names in label order; empty if unlabelled.
  const std::vector<std::string>& classes() const { return classes_; }
  bool labelled() const { return !classes_.empty(); }
  /// Width = height of every sample where the format fixes it (28 for MNIST, 32 for CIFAR), else 0.
  std::int64_t native_size() const { return native_size_; }
  /// Channels where the format fixes them (1 for MNIST), else 3.
  std::int64_t native_channels() const { return native_channels_; }

 protected:
  std::vector<std::string> classes_;
  std::int64_t native_size_ = 0;
  std::int64_t native_channels_ = 3;
};

struct DatasetOptions {
  std::string path;
  Split split = Split::train;
  double val_split = 0.1;            ///< stratified share taken for val where the set has no val part of its own
  std::uint64_t seed = 0;            ///< unused by the split itself, which depends on names alone
  std::vector<std::string> classes;  ///< subset, in this order; empty: all, sorted by name
  std::int64_t limit = 0;            ///< at most this many samples, spread evenly over the classes; 0: all
  bool whole = false;                ///< both parts together (predicting on a folder); val_split is not applied
  bool skip_bad = false;             ///< leave out files that can't be decoded, listing each on stderr; else load() throws
  bool allow_unlabelled = false;     ///< accept a flat folder of images
};

/// Throws Error naming the path: missing, empty, one class only, no images, a .gz cut short, labels out of range,
/// a class of --classes that is not there.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

}  // namespace retort
