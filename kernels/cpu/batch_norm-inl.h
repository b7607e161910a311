// The loops of batch normalisation over rows and vectors of channels. Included once per target, after
// <hwy/highway.h>.
#if defined(RETORT_KERNELS_CPU_BATCH_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_BATCH_NORM_INL_H_
#undef RETORT_KERNELS_CPU_BATCH_NORM_INL_H_
#else
#define RETORT_KERNELS_CPU_BATCH_NORM_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/batch_norm_plan.h"
#include "kernels/cpu/simd/vector_loop-inl.h"
#include "kernels/threads.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using F32 = hn::ScalableTag<float>;
using F64 = hn::ScalableTag<double>;
using HalfF32 = hn::Rebind<float, F64>;
using V = hn::Vec<F32>;
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(F32()));
constexpr std::int64_t kGroup = 4;  // vectors of channels whose sums are held in registers

/// Runs body(range, channel_begin, channel_end) for all ranges; few ranges are cut by channels too.
template <class Body>
void for_ranges(const BatchNormPlan& plan, std::int64_t channels, const Body& body) {
  const std::int64_t strips = divide_up(channels, BatchNormPlan::kPad);
  const std::int64_t shares = std::clamp<std::int64_t>(2 * num_threads() / plan.ranges(), 1, strips);
  parallel_tasks(plan.ranges() * shares, [&](std::int64_t task, int) {
    const Range of_strips = share_of(strips, shares, task % shares);
    body(task / shares, of_strips.begin * BatchNormPlan::kPad, std::min(channels, of_strips.end * BatchNormPlan::kPad));
  });
}

/// Runs body(begin, end) on ranges of rows, the last rows first.
template <class Body>
void for_rows_reversed(const BatchNormGeometry& g, const Body& body) {
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, 32768 / g.channels);
  const std::int64_t tasks = divide_up(g.rows, rows_per_task);
  parallel_tasks(tasks, [&](std::int64_t task, int) {
    const std::int64_t begin = (tasks - 1 - task) * rows_per_task;
    body(begin, std::min(g.rows, begin + rows_per_task));
  });
}

/// Runs body(lanes, count, c) over [begin, end): count vectors of channels from c, kGroup at a time while they last.
template <class Body>
HWY_INLINE void for_groups(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t c = begin;
  for (; c + kGroup * kLanes <= end; c += kGroup * kLanes) body(Whole{}, std::integral_constant<int, kGroup>(), c);
  vector_loop(F32(), c, end,
              [&](auto lanes, std::int64_t i) HWY_ATTR { body(lanes, std::integral_constant<int, 1>(), i); });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
