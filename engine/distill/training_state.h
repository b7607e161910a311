// The training state: everything that a run needs to continue to the same bits after it was stopped or killed.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"
#include "engine/nn/optimizer.h"

namespace retort {

/// Sums over the samples of the epoch under way.
struct EpochSums {
  double samples = 0, labelled = 0, loss = 0, hard = 0, soft = 0, accuracy = 0, top5 = 0, kl = 0, hints = 0;
  double hard_gradient = 0, soft_gradient = 0;

  EpochSums& operator+=(const EpochSums& other);
};

/// Where a run stands.
struct TrainingProgress {
  std::int64_t epoch = 0;  ///< the epoch under way, or the number of epochs when finished
  std::int64_t batch = 0;  ///< batches of it that are done
  std::int64_t step = 0;   ///< optimizer steps since the start
  EpochSums sums;
  std::int64_t selected_epoch = -1;  ///< best on validation so far; -1: none
  double selected_accuracy = 0, selected_loss = 0;
  double best_loss = 1e300;  ///< for early stopping
  std::int64_t epochs_without_gain = 0;
  double plateau_best = 1e300, plateau_factor = 1;
  int plateau_bad_epochs = 0;
};

/// Settings that determine a run's bits, flag name -> value; a run resumes under the same ones only.
using Fingerprint = std::map<std::string, std::string>;
/// The entry that holds a hash of the samples' names and labels. States older than it are taken at their word.
inline constexpr const char* kLabelsEntry = "labels";

/// Throws Error naming the first flag whose value is another than the run at `path` was started with, a flag that
/// either alone has among them, or other images or labels.
void check_same(const Fingerprint& saved, const Fingerprint& fingerprint, const std::string& path);

/// Tensors beside the module's and the optimizer's, by name: the weights' average, the hints' regressors.
using MoreState = std::vector<std::pair<std::string, Tensor>>;

/// What a state file says of itself.
struct StateSummary {
  std::int64_t epoch = 0, step = 0;  ///< that are done
  bool finished = false;             ///< the run came to its end; states older than this entry never say so
  bool kept = true;                  ///< weights and moments are there: more epochs can be trained from it
};
/// Reads the header. Throws Error for a file that is no training state of this version, or damaged.
StateSummary read_state_summary(const std::string& path);

/// Writes weights, buffers, optimizer moments and progress as one safetensors file, atomically.
void save_training_state(const std::string& path, Module& module, Optimizer& optimizer,
                         const TrainingProgress& progress, const Fingerprint& fingerprint, const MoreState& more = {},
                         bool finished = false);

/// What is left of a finished run's state where that is not to be kept: where the run ended, and by what settings, a
/// few kB. A run that is asked for again is then known to be done. Atomic.
void save_finished_run(const std::string& path, const TrainingProgress& progress, const Fingerprint& fingerprint);
/// Reads either. Throws Error as check_same does, and for a file that is no state.
TrainingProgress load_progress(const std::string& path, const Fingerprint& fingerprint);

/// Restores what save_training_state wrote, into `more` too. Throws Error naming the first flag whose value differs, a
/// flag that either run alone has among them, other images or labels, or a tensor that does not fit.
TrainingProgress load_training_state(const std::string& path, Module& module, Optimizer& optimizer,
                                     const Fingerprint& fingerprint, const MoreState& more = {});

}  // namespace retort
