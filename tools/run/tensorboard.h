// A run as TensorBoard shows it: --tensorboard DIR.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/data/image.h"
#include "engine/io/event_file.h"
#include "tools/run/log.h"

namespace retort {

/// A square a pair of classes, rows true and columns predicted, the darker the larger its share of the row, and its
/// count within where there is room for digits. counts[true][predicted].
Image confusion_picture(const std::vector<std::vector<std::int64_t>>& counts);

class TensorBoard {
 public:
  /// Writes what determines the run, flag by flag, as its hyperparameters. Epochs from `first_epoch` on are done anew.
  /// Throws what EventFile throws.
  TensorBoard(const std::string& folder, std::int64_t first_epoch, const std::string& run_name,
              const std::map<std::string, std::string>& settings, std::vector<std::string> classes);
  /// Every number of the log's line (train_loss as train/loss), and how validation confuses the classes. The steps are
  /// epochs.
  void add(const EpochReport& report, const Reported& reported);

 private:
  EventFile file_;
  std::vector<std::string> classes_;
};

}  // namespace retort
