// What a run says of its epochs: a line on stderr, a line of JSON in the log.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/distill/trainer.h"
#include "engine/io/descriptor.h"

namespace retort {

/// Which parts of an epoch's report mean something.
struct Reported {
  std::int64_t epochs = 0;  ///< of the whole run
  bool taught = true, val_taught = true, hinted = false, labelled = true;
};

/// train_loss, val_loss, ... in one flat object.
nlohmann::ordered_json report_json(const EpochReport& report, const Reported& reported);
/// For a terminal: at most 100 columns. What does not fit is in the JSON.
std::string report_line(const EpochReport& report, const Reported& reported);

/// The epoch of a log's line, parsed; 0 for what is no line of a log.
std::int64_t epoch_of(const nlohmann::json& line);

/// One JSON line an epoch, on the disk when add() returns. A resumed run keeps the lines of the epochs that it does not
/// run again.
class Log {
 public:
  /// Nothing is written where `path` is empty. Throws Error if the file cannot be written.
  Log(const std::string& path, std::int64_t first_epoch);
  void add(const nlohmann::ordered_json& json);

 private:
  std::string path_;
  Descriptor file_;
};

}  // namespace retort
