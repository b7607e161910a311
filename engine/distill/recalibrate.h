// Batch norm's running statistics, estimated anew under the present weights.
//
// A running average with momentum 0.1 starts at mean 0 and variance 1 and remembers some twenty steps. Early in a run,
// and where twenty steps are more than an epoch, it describes weights that are long gone: evaluation then sees
// activations that no layer was trained on. Averaging anew over some pictures costs a forward pass over them.
#pragma once

#include <memory>
#include <optional>

#include "engine/data/loader.h"
#include "engine/nn/module.h"

namespace retort {

struct RecalibrationSettings {
  enum class When : std::uint8_t {
    automatic,  ///< while the running averages lag behind: see recalibration_due
    always,     ///< at the end of each epoch
    off
  };
  When when = When::automatic;
  std::int64_t pictures = 1024;  ///< at most
};

/// Whether the statistics are estimated anew after so many optimizer steps. Automatic: before step 200, by when the
/// weights have come out of their first large moves, and throughout where an epoch has fewer than 20 steps, as many as
/// the average remembers.
bool recalibration_due(const RecalibrationSettings& settings, std::int64_t steps, std::int64_t steps_per_epoch);

/// Estimates running statistics over the same training pictures each time.
class Recalibration {
 public:
  /// Takes the first min(pictures, size) of a permutation drawn from loading.seed. `loading` says batch size,
  /// preprocessing (the first serves), augmentation, workers and seeds; `train` must outlive this.
  Recalibration(const Dataset& train, const LoaderOptions& loading, std::int64_t pictures);

  /// Sets the running mean and variance of each batch norm that is not frozen to the averages of the batches' means and
  /// unbiased variances, weighed by their rows, with dropout off; all else in the network stays as it is, counters of
  /// batches included. The pictures are seen in `view`, as training sees them. Training does not read what is replaced
  /// here, so a run's weights are the same with and without. The auxiliary head's are estimated where `auxiliary` is
  /// set. Returns the number of pictures, 0 where the network has no such batch norm. Throws what the loader throws.
  std::int64_t run(Network& network, DType precision, bool auxiliary, std::uint64_t view);

 private:
  std::unique_ptr<Dataset> pictures_;
  LoaderOptions loading_;
  std::optional<Loader> loader_;  ///< from the first run on: most networks' runs need none, or few
};

/// Whether it has batch norm whose running statistics training moves.
bool has_running_statistics(Network& network);

}  // namespace retort
