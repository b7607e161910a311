// The parts of x [n, ...] along its first axis, as views. Backward writes each part's gradient into its rows of dx; the
// rows of a part that has none are 0.
#include "engine/ops/rows.h"

#include <numeric>

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

std::vector<Tensor> split_rows(const Tensor& x, std::span<const std::int64_t> counts) {
  check(x && x.shape().rank() >= 1, "[split_rows] the input has no axis; give [n, ...]");
  const std::int64_t all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  check(all == x.shape()[0], "[split_rows] parts of ", all, " rows in all, for ", x.shape(), "; they must add up");
  std::vector<Tensor> parts;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    parts.push_back(x.rows(begin, count));
    begin += count;
  }

  if (Tape* tape = recording({&x})) {
    std::vector<std::shared_ptr<GradSlot>> slots;
    slots.reserve(parts.size());
    for (Tensor& part : parts) slots.push_back(part.require_grad().slot());
    tape->record("split_rows", [slot_x = x.slot(), slots = std::move(slots), shape = x.shape(), dtype = x.dtype(),
                                device = x.device(), counts = std::vector<std::int64_t>(counts.begin(), counts.end())] {
      Tensor dx = Tensor::empty(shape, dtype, device);
      bool any = false;
      std::int64_t begin = 0;
      for (std::size_t i = 0; i < slots.size(); ++i) {
        Tensor rows = dx.rows(begin, counts[i]);
        begin += counts[i];
        if (const Tensor dy = take_grad(*slots[i])) {
          rows.copy_from(dy);
          any = true;
        } else {
          kernels(rows).elementwise.fill({}, rows.count(), 0, rows.raw());
        }
      }
      if (any) accumulate(*slot_x, std::move(dx));
    });
  }
  return parts;
}

}  // namespace retort
