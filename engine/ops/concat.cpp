// y [..., c1 + c2 + ...] = the parts [..., c1], [..., c2], ... side by side; each part's gradient is its slice of dy.
#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {
namespace {

/// The shape with another last extent.
Shape with_channels(const Shape& shape, std::int64_t channels) {
  switch (shape.rank()) {
    case 1: return {channels};
    case 2: return {shape[0], channels};
    case 3: return {shape[0], shape[1], channels};
    default: return {shape[0], shape[1], shape[2], channels};
  }
}

}  // namespace

Tensor concat(const std::vector<Tensor>& parts) {
  check(!parts.empty(), "[concat] no parts; give at least one");
  const Tensor& first = parts[0];
  check(first.shape().rank() > 0, "[concat] part 0 has no axis; give at least one");
  std::int64_t channels = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor& part = parts[i];
    const bool joins = part.shape().rank() == first.shape().rank() &&
                       with_channels(part.shape(), first.shape()[-1]) == first.shape() && part.dtype() == first.dtype();
    check(joins, "[concat] part ", i, " is ", to_string(part.dtype()), " ", part.shape(), ", part 0 ",
          to_string(first.dtype()), " ", first.shape(), "; only the last extents may differ");
    channels += part.shape()[-1];
  }
  Tensor y = Tensor::empty_like(first, with_channels(first.shape(), channels));
  const std::int64_t rows = channels ? y.count() / channels : 0;
  std::int64_t begin = 0;
  for (const Tensor& part : parts) {
    const std::int64_t count = part.shape()[-1];
    kernels(y).elementwise.copy_channels({}, {rows, count, count, 0, channels, begin}, part.raw(), y.raw());
    begin += count;
  }
  if (Recorder* recorder = Recorder::active()) recorder->note({"concat", parts, y, {}});

  struct Input {
    std::shared_ptr<GradSlot> slot;
    Shape shape;
  };
  std::vector<Input> inputs;
  std::vector<const Tensor*> pointers;
  for (const Tensor& part : parts) {
    inputs.push_back({part.slot(), part.shape()});
    pointers.push_back(&part);
  }
  if (Tape* tape = recording(pointers)) {
    y.require_grad();
    tape->record("concat", [slot_y = y.slot(), inputs = std::move(inputs), rows, channels] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      std::int64_t begin = 0;
      for (const Input& input : inputs) {
        const std::int64_t count = input.shape[-1];
        if (input.slot) {
          Tensor dx = Tensor::empty_like(dy, input.shape);
          kernels(dy).elementwise.copy_channels({}, {rows, count, channels, begin, count, 0}, dy.raw(), dx.raw());
          accumulate(*input.slot, std::move(dx));
        }
        begin += count;
      }
    });
  }
  return y;
}

}  // namespace retort
