// A teacher's logits under way, on the disk: what a run that was killed has computed is not computed again.
//
// FILE.partial beside FILE.npy: eight bytes "RETORTL1", the length of a JSON object and that object, which says by what
// settings the logits are made; then blocks. A block is the number of its rows, their logits, and the hash of both.
// What a killed writer or a loss of power left of a block is known by its hash, and cut off.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/tensor.h"
#include "engine/distill/logit_store.h"
#include "engine/distill/training_state.h"
#include "engine/io/descriptor.h"

namespace retort {

class PartialLogits {
 public:
  /// The file under way of a store.
  static std::string path_of(const std::string& store);

  /// Opens the file of `store`, or begins it. Throws Error for a file that is none, and as check_same does where it was
  /// begun by other settings.
  PartialLogits(const std::string& store, const Fingerprint& fingerprint, std::int64_t classes);
  /// A file without a row goes: there is nothing in it to lose.
  ~PartialLogits();
  PartialLogits(const PartialLogits&) = delete;
  PartialLogits& operator=(const PartialLogits&) = delete;

  /// Rows that are there whole.
  std::int64_t rows() const { return rows_; }
  /// Appends logits [n, classes] on the CPU. Throws Error where one is not finite, or the disk is full.
  void add(const Tensor& logits);
  /// All rows, a block at a time.
  void read(const LogitSink& sink) const;
  /// The store is written: the file goes.
  void remove();

 private:
  /// Reads blocks up to the first that is not whole; returns where that begins.
  std::uint64_t read_blocks(const LogitSink& sink, std::int64_t& rows) const;

  std::string path_;
  std::int64_t classes_, rows_ = 0;
  std::uint64_t data_at_ = 0;
  Descriptor file_;
};

}  // namespace retort
