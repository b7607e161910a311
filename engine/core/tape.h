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
#include <ostream>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

class Tape {
 public:
  /// Becomes this thread's active tape until it is destroyed; tapes nest.
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Appends a step that reads the output's gradient and accumulates the inputs'. Called by ops; `op` is the op's name,
  /// a literal.
  void record(const char* op, std::function<void()> step) { steps_.push_back({op, std::move(step)}); }

  /// Runs the steps backwards from d(output)/d(output) = 1 (or `seed`, of output's shape) and empties the tape.
  /// A leaf's gradient stays in its slot; that of a tensor computed on the way is used up. Throws Error if output does
  /// not depend on anything recorded here, or is not a single element and no seed is given.
  void backward(const Tensor& output, const Tensor& seed = {});

  std::size_t size() const { return steps_.size(); }
  /// The names of the recorded ops, in the order of the forward pass.
  std::vector<const char*> ops() const;

  /// This thread's active tape, or null.
  static Tape* active();

 private:
  struct Step {
    const char* op;
    std::function<void()> run;
  };
  std::vector<Step> steps_;
  Tape* previous_;
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
Tape* recording(std::initializer_list<const Tensor*> inputs);

}  // namespace retort
