// Batches, decoded and rendered ahead of time by worker threads. The order of samples depends on (seed, epoch) and
// every pixel on (view_seed, view, sample name) alone, not on the number of workers.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/data/dataset.h"
#include "engine/data/sampling.h"
#include "engine/data/transform.h"

namespace retort {

/// How each batch is cut: into `count` parts, of which the loader gives `taken`, from `first` on, one after the other.
struct BatchParts {
  std::int64_t count = 1, first = 0, taken = 1;
  std::int64_t fewest = 2;  ///< rows of a part, where full batches give each part as many
};

/// Whose turn it is, batch by batch: of `count` loaders this one gives the batches `first`, `first + count`, ...
struct BatchTurns {
  std::int64_t count = 1, first = 0;
};

/// Some rows of a batch, one after the other.
struct RowRange {
  std::int64_t first = 0, count = 0;
};

/// The rows of part `part` where a batch of `rows` is cut into `parts`, as even as can be. Where full batches, of
/// `full` rows, give each part at least `fewest`, so does a shorter one: it has fewer parts then, and the last ones are
/// empty. Two, since batch norm cannot train on a single row.
RowRange part_rows(std::int64_t rows, std::int64_t full, std::int64_t parts, std::int64_t part,
                   std::int64_t fewest = 2);

/// Rows of the largest part.
inline std::int64_t part_size(std::int64_t rows, std::int64_t parts) { return (rows + parts - 1) / parts; }

struct LoaderOptions {
  std::int64_t batch_size = 32;
  std::vector<Preprocessing> preprocessings;  ///< one input tensor a batch for each
  Augmentation augmentation;                  ///< none: centre_view
  bool shuffle = false;
  BatchParts parts;
  BatchTurns turns;                      ///< counted from the first batch that start() does not leave out
  std::optional<SamplingPlan> plan;      ///< deals the samples, in place of batch_size and shuffle
  std::int64_t smallest = 1;             ///< leave out a last batch of fewer samples, where full ones have as many
  std::uint64_t seed = 0;                ///< of the shuffle
  std::uint64_t view_seed = 0;           ///< of the augmentation; a cached store's views were drawn from its own
  int workers = 1;                       ///< decoding threads
  int prefetch = 4;                      ///< batches ahead
  std::int64_t cache_bytes = 512 << 20;  ///< decoded images of a folder kept for the next epochs, at most
};

struct Batch {
  std::vector<std::int64_t> indices;     ///< into the dataset
  std::vector<std::uint64_t> views;      ///< of each sample, where a plan deals them; else empty: all have start's
  std::vector<Tensor> inputs;            ///< one per preprocessing, f32 [n, size, size, channels]
  Tensor labels;                         ///< i64 [n], -1 where a row has none; empty if unlabelled
  std::optional<std::int64_t> labelled;  ///< rows with a label, which come first, where a plan deals them
  std::int64_t part = 0;                 ///< which of the whole batch's parts this is
  std::int64_t whole = 0;                ///< rows of the whole batch
};

class Loader {
 public:
  /// `dataset` must outlive the loader. Throws UsageError on a batch size below 1, Error where the machine does not
  /// start so many workers.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  /// Stops at once, in the middle of an epoch too.
  ~Loader();

  /// Begins an epoch: `epoch` keys the shuffle; `view` keys the augmentation (the epoch itself, or a cached view's
  /// number), unless a plan gives each sample its own; the first `skip` batches are left out (resuming in mid-epoch).
  /// An epoch under way is given up.
  void start(std::uint64_t epoch, std::uint64_t view, std::int64_t skip = 0);
  /// The next batch, or part of one, which may be empty: without rows and inputs; false at the end of the epoch. Throws
  /// what a worker threw, e.g. Error naming the batch's first bad file; the next call goes on with the batch after it.
  bool next(Batch& batch);
  /// Whole batches in an epoch, everybody's.
  std::int64_t batches() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
