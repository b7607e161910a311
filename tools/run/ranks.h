// What the processes under mpirun agree on before they share a command's work.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/distill/training_state.h"
#include "tools/run/training.h"

namespace retort {

/// Throws Error naming a rank of the group that was started otherwise than rank 0. `mine`: what determines the
/// command's results; the program's version and its instruction set are looked at, too.
void check_ranks(Fingerprint mine);

/// The same for a command that has no fingerprint of its own: what was typed, and the names and labels of its pictures.
void check_command(const std::vector<const Dataset*>& pictures);

/// Hands whole runs to the group's ranks, in turn: each rank goes through all of them, and trains its own by itself.
class RunShare {
 public:
  /// Makes and trains the next run, where it is this rank's turn. A signal to this rank takes the others along.
  void train(const std::function<TrainingRun()>& make);

 private:
  std::int64_t number_ = 0;
};

/// Of the names and labels of all samples; a null part has none.
std::string label_hash(const std::vector<const Dataset*>& parts);

}  // namespace retort
