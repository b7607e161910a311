// A store's rows of logits, in memory or in their file, and how a row is written there.
//
// Rows of a file are read as they are asked for, never all at once, so that a store may be larger than memory. They are
// read, not mapped: a file that is cut short meanwhile is an error, where a mapping would end the program.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "engine/core/tensor.h"
#include "engine/io/file.h"

namespace retort {

/// Receives logits [rows, classes] of whole rows.
using LogitSink = std::function<void(std::span<const float> logits)>;

/// How a row lies in FILE.npy.
///   full: a number a class, '<f4' or '<f2';
///   top K: a record of the K highest logits, falling, and of what is left:
///     [('index', '<i4', (K,)), ('logit', '<f4' or '<f2', (K,)), ('rest', '<f4')]
///   where rest is the probability at T = 1 of all other classes together. They are read as equally likely:
///     z_other = log(rest / (1 - rest)) + log(sum of exp(z_i) over the K) - log(classes - K).
///   So the probabilities of the K at T = 1 are the teacher's, and KL(teacher || read) = rest KL(others || uniform),
///   which is at most rest log(classes - K).
struct LogitEncoding {
  bool half = false;     ///< each logit rounded to f16: off by 2^-11 of it, or by 2^-25 where that is more
  std::int64_t top = 0;  ///< K; 0: all classes

  /// As a Python literal.
  std::string descr() const;
  std::size_t row_bytes(std::int64_t classes) const;
  /// Throws Error for a logit beyond f16.
  void encode(std::span<const float> row, std::span<std::uint8_t> to) const;
  /// Throws Error for a record that encode does not write.
  void decode(std::span<const std::uint8_t> from, std::span<float> row) const;
};

class StoredLogits {
 public:
  StoredLogits() = default;
  /// In memory. Throws Error for other than f32 [rows, classes].
  StoredLogits(Tensor logits);  // NOLINT(google-explicit-constructor): they are logits
  /// In a file of so many classes. Throws Error where the file is not of that encoding, or has other than whole rows.
  static StoredLogits open(const std::string& path, std::int64_t classes, const LogitEncoding& encoding);

  std::int64_t rows() const { return file_ ? file_->rows : logits_ ? logits_.shape()[0] : 0; }
  std::int64_t classes() const { return file_ ? file_->classes : logits_ ? logits_.shape()[1] : 0; }
  /// Fills `to` with whole rows from `first` on. Throws Error where the file is damaged.
  void read(std::int64_t first, std::span<float> to) const;
  /// All rows, in parts.
  void each(const LogitSink& sink) const;
  /// All rows in memory, f32 [rows, classes]: the tensor itself, where it is one.
  Tensor tensor() const;
  /// content_hash of their f32.
  std::string hash() const;

 private:
  struct File {
    std::string path;
    InputFile input;
    LogitEncoding encoding;
    std::int64_t rows, classes;
    std::uint64_t data_at;
  };
  std::shared_ptr<const File> file_;
  Tensor logits_;
};

}  // namespace retort
