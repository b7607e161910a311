// The tape: a list of backward steps in the order in which the forward ops ran, which is a topological order.
//
//   Tape tape;                              // from here on this thread's ops record themselves
//   Tensor loss = cross_entropy(model.forward(x), y);
//   tape.backward(loss);                    // pops the steps, each freeing what it had saved
//
// An op records when a tape is active and an input requires a gradient. With no active tape nothing is saved.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// What an op read and gave, by the slots of the tensors; those that require no gradient are left out.
struct TracedOp {
  const char* op;
  std::vector<std::shared_ptr<GradSlot>> inputs;
  std::shared_ptr<GradSlot> output;
  Shape shape;  ///< of the output
};

class Tape {
 public:
  /// Becomes this thread's active tape until it is destroyed; tapes nest.
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Appends a step that reads the output's gradient and accumulates the inputs'. Called by ops; `op` is the op's name,
  /// a literal.
  void record(const char* op, std::function<void()> step);

  /// Runs the steps backwards from d(output)/d(output) = 1 (or `seed`, of output's shape) and empties the tape.
  /// A leaf's gradient stays in its slot; that of a tensor computed on the way is used up. Throws Error if output does
  /// not depend on anything recorded here, or is not a single element and no seed is given.
  void backward(const Tensor& output, const Tensor& seed = {});

  /// Has backward() call `done` with each of the slots as soon as its gradient is whole: no step that is left adds to
  /// it. Said before the forward pass; slots that no recorded op reads are not reported.
  void report_whole(std::vector<GradSlot*> slots, std::function<void(const GradSlot&)> done);

  std::size_t size() const { return steps_.size(); }
  /// The names of the recorded ops, in the order of the forward pass.
  std::vector<const char*> ops() const;

  /// From here on the tape keeps which tensors each op reads and gives: a picture of the network.
  void keep_trace() { traces_ = true; }
  const std::vector<TracedOp>& trace() const { return trace_; }

  /// This thread's active tape, or null.
  static Tape* active();

 private:
  struct Step {
    const char* op;
    std::function<void()> run;
  };
  friend Tape* recording(std::span<const Tensor* const> inputs);
  friend Tensor& Tensor::require_grad();

  void note_reads(std::span<const Tensor* const> inputs);

  std::vector<Step> steps_;
  Tape* previous_;
  std::unordered_set<const GradSlot*> awaited_;                ///< slots to report that no op has read yet
  std::vector<std::pair<std::size_t, GradSlot*>> first_read_;  ///< the others, by the step that read them first
  std::function<void(const GradSlot&)> whole_;
  bool traces_ = false;
  std::vector<TracedOp> trace_;
  TracedOp next_;  ///< what is known of the op that will record itself next
};

/// One line an op, "3 relu", in the order of the forward pass.
std::ostream& operator<<(std::ostream& stream, const Tape& tape);

/// Suspends recording on this thread while it lives: a teacher, an evaluation.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Tape* previous_;
};

/// For ops: the active tape if one of the inputs requires a gradient, else null.
Tape* recording(std::span<const Tensor* const> inputs);
inline Tape* recording(std::initializer_list<const Tensor*> inputs) {
  return recording(std::span<const Tensor* const>(inputs.begin(), inputs.size()));
}

}  // namespace retort
