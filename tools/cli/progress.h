// What a user sees while work goes on: a bar with rate, loss and time left on a terminal, nothing between lines
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace retort {

class Progress {
 public:
  /// `total` items (images). Silent if quiet or stderr is no terminal. `label`: "epoch 3/10", "logits".
  Progress(std::string label, std::int64_t total, bool quiet);
  ~Progress();  ///< clears the bar's line
  /// `done` items so far; `note`, e.g. "loss 0.532", is shown behind the rate. Redraws at most ten times a second.
  void update(std::int64_t done, const std::string& note = {});

 private:
  std::string label_;
  std::int64_t total_;
  std::int64_t first_ = -1;  ///< `done` of the first update: a resumed epoch starts in the middle
  bool active_;
  std::chrono::steady_clock::time_point start_, drawn_;
};

/// A time as one says it: "40 seconds", "12 minutes", "2 h 10 min", "3 days".
std::string duration_words(double seconds);

/// One line on stderr, unless quiet.
void say(bool quiet, const std::string& line);

/// Turns Ctrl-C, SIGTERM, SIGHUP (unless nohup ignores it) and SIGXCPU into a flag for the running command; a second
/// one ends the program at once.
void catch_interrupts();
bool interrupted();

/// Thrown by a command that stopped, tidily, because of interrupted(): the program ends with status 130.
struct Interrupted {
  bool of_all = false;  ///< every rank of the group stops by itself; else this one takes the others along
};

}  // namespace retort
