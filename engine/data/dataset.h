// A dataset: named samples, decoded on demand. open_dataset recognises every form of `--data`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "engine/data/pixel_cache.h"
#include "engine/data/reading.h"

namespace retort {

enum class Split : std::uint8_t { train, val, test };

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual std::int64_t size() const = 0;
  /// Path relative to the split's folder with forward slashes ("cat/001.jpg"), or "train/00042" for packed formats.
  virtual const std::string& name(std::int64_t index) const = 0;
  /// In [0, classes().size()), or -1 for a sample without a label.
  virtual std::int64_t label(std::int64_t index) const = 0;
  /// Decodes one sample; safe from several threads. Throws Error naming the file.
  virtual Image load(std::int64_t index) const = 0;
  /// The sample lies decoded in memory or in a file: loading it is a copy, which fails only if that file is cut short.
  virtual bool decoded(std::int64_t) const { return false; }
  /// content_hash (engine/io/file.h) of the sample's stored bytes: the image file, or the pixels of a packed record.
  virtual std::string content_hash(std::int64_t index) const = 0;

  /// Class names in label order; empty if unlabelled.
  const std::vector<std::string>& classes() const { return classes_; }
  bool labelled() const { return !classes_.empty(); }
  /// Whether this sample has a label; in a labelled set some may not (engine/data/joined.h).
  bool labelled(std::int64_t index) const { return labelled() && label(index) >= 0; }
  /// Width = height of every sample where the format fixes it (28 for MNIST, 32 for CIFAR), else 0.
  std::int64_t native_size() const { return native_size_; }
  /// Channels where the format fixes them (1 for MNIST), else 3.
  std::int64_t native_channels() const { return native_channels_; }
  /// How the set that open_dataset opened was made of its folder; null for others.
  const std::shared_ptr<const DataReading>& reading() const { return reading_; }

 protected:
  std::shared_ptr<const DataReading> reading_;
  std::vector<std::string> classes_;
  std::int64_t native_size_ = 0;
  std::int64_t native_channels_ = 3;
};

/// What open_dataset throws where val_split leaves nothing for validation.
class NoSamples : public Error {
 public:
  using Error::Error;
};

struct DatasetOptions {
  std::string path;
  Split split = Split::train;
  double val_split = 0.1;            ///< stratified share taken for val where the set has no val part of its own
  std::vector<std::string> classes;  ///< subset, in this order; empty: all, sorted by name
  std::int64_t limit = 0;            ///< at most this many samples, spread evenly over the classes; 0: all
  bool whole = false;                ///< both parts together (predicting on a folder); val_split is not applied
  bool skip_bad = false;             ///< decode everything once and leave out what can't be; else load() throws
  bool allow_unlabelled = false;     ///< accept a flat folder of images
  std::string cache;                 ///< PixelCache of a folder of images; empty: none
  PixelCacheHooks cache_hooks;       ///< a missing remark goes to stderr
  std::vector<std::string>* skipped = nullptr;  ///< receives a line for each file left out; null: stderr does
};

/// Recognises, in this order:
/// - MNIST's IDX files: {train,t10k}-{images-idx3,labels-idx1}-ubyte, raw or .gz, also spelled train-images.idx3-ubyte;
///   names train/00042 and test/00042.
/// - CIFAR's binary files: data_batch_*.bin and test_batch.bin (10 classes), or train.bin and test.bin (100 fine ones).
/// - A folder of classes, or of parts that each hold the same class folders: train (or training), val (valid,
///   validation), test (testing), in any case. Images of jpg, jpeg, png, bmp, ppm, pgm, gif and, where the build has
///   libwebp, webp in any case, at any depth; what else lies there is counted in the reading. With `whole`, the parts
///   keep their folder in the names (train/cat/001.jpg).
/// - A flat folder of images, where allow_unlabelled.
///
/// A test part chooses nothing: without a val part, val takes round(val_split * n) of a class's n training samples (at
/// least one and at most n - 1 where n >= 2), those whose names hash lowest: adding a class moves nothing.
///
/// The cache holds the images of all parts (of --classes, where given), so that one file serves every split and limit;
/// it is opened, or made, once all else is right.
///
/// Throws Error naming the path: missing, empty, one class only, a class folder without images, parts whose classes
/// differ, two folders for one part, a part that is not there, class names that are not UTF-8, a .gz cut short, labels
/// out of range, a class of --classes that is not there; what PixelCache throws. UsageError for a val_split outside [0,
/// 1), a negative limit, a cache of MNIST's or CIFAR's files.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

/// What open_dataset would make of the folder, without opening a part. Throws as it does.
DataReading read_dataset(const DatasetOptions& options);

}  // namespace retort
