#include "engine/core/tape.h"

#include <algorithm>
#include <utility>

#include "engine/core/check.h"

namespace retort {
namespace {

thread_local Tape* active_tape = nullptr;

}  // namespace

Tape::Tape() : previous_(std::exchange(active_tape, this)) {}

Tape::~Tape() { active_tape = previous_; }

void Tape::backward(const Tensor& output, const Tensor& seed) {
  check(
      output.requires_grad() && !steps_.empty(),
      "[backward] the output depends on nothing that this tape recorded; compute it under the tape, from a tensor that "
      "requires a gradient");
  check(seed ? seed.shape() == output.shape() && seed.dtype() == output.dtype() : output.count() == 1,
        "[backward] the output is ", to_string(output.dtype()), " ", output.shape(), ", the seed ",
        seed ? text(to_string(seed.dtype()), " ", seed.shape()) : "missing", "; give a seed of the output's shape");
  accumulate(*output.slot(), seed ? seed.detached() : Tensor::full(output.shape(), 1, output.dtype(), output.device()));
  while (!steps_.empty()) {
    const Step step = std::move(steps_.back());
    steps_.pop_back();
    step.run();
    for (; !first_read_.empty() && first_read_.back().first == steps_.size(); first_read_.pop_back())
      whole_(*first_read_.back().second);
  }
}

void Tape::report_whole(std::vector<GradSlot*> slots, std::function<void(const GradSlot&)> done) {
  awaited_.insert(slots.begin(), slots.end());
  whole_ = std::move(done);
}

void Tape::note_reads(std::span<const Tensor* const> inputs) {
  for (const Tensor* input : inputs)
    if (input->requires_grad() && awaited_.erase(input->slot().get()) > 0)
      first_read_.emplace_back(steps_.size(), input->slot().get());
}

void Tape::record(const char* op, std::function<void()> step) {
  steps_.push_back({op, std::move(step)});
  if (!traces_) return;
  next_.op = op;
  trace_.push_back(std::exchange(next_, {}));
}

std::vector<const char*> Tape::ops() const {
  std::vector<const char*> names;
  for (const Step& step : steps_) names.push_back(step.op);
  return names;
}

std::ostream& operator<<(std::ostream& stream, const Tape& tape) {
  std::size_t place = 0;
  for (const char* const op : tape.ops()) stream << place++ << ' ' << op << '\n';
  return stream;
}

Tape* Tape::active() { return active_tape; }

NoGrad::NoGrad() : previous_(std::exchange(active_tape, nullptr)) {}

NoGrad::~NoGrad() { active_tape = previous_; }

Tape* recording(std::span<const Tensor* const> inputs) {
  const auto requires_grad = [](const Tensor* input) { return input->requires_grad(); };
  if (!active_tape || std::ranges::none_of(inputs, requires_grad)) return nullptr;
  active_tape->note_reads(inputs);
  if (active_tape->traces_) {
    active_tape->next_.inputs.clear();
    for (const Tensor* input : inputs)
      if (input->requires_grad()) active_tape->next_.inputs.push_back(input->slot());
  }
  return active_tape;
}

}  // namespace retort
