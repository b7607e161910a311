// What a forward pass consists of, written down as it runs: from this a network of any class becomes a list of nodes
// (models/graph/record.h).
//
//   Recorder recorder;                     // from here on this thread's ops write themselves down
//   network.forward(x, context);
//   recorder.ops();                        // in the order in which they ran
//
// The tape knows what is read and given too, but only of what requires a gradient, and not how an op was set.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

struct RecordedOp {
  const char* op;              ///< its name, a literal
  std::vector<Tensor> inputs;  ///< in the op's own order; the empty tensor for one that was left out
  Tensor output;
  std::map<std::string, double> settings;
};

/// Keeps every tensor that it saw, so that two of them can be told apart by where their elements lie.
class Recorder {
 public:
  /// Becomes this thread's active recorder until it is destroyed; recorders nest.
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::vector<RecordedOp>& ops() const { return ops_; }

  /// This thread's active recorder, or null.
  static Recorder* active();
  /// Called by ops.
  void note(RecordedOp op) { ops_.push_back(std::move(op)); }

 private:
  std::vector<RecordedOp> ops_;
  Recorder* previous_;
};

}  // namespace retort
