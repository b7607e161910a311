#include "engine/distill/step_sum.h"

#include <algorithm>
#include <utility>

#include "engine/core/kernels.h"
#include "engine/group/group.h"
#include "kernels/memory.h"

namespace retort {
namespace {

Tensor times(const Tensor& x, double factor) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).elementwise.scale({}, x.count(), factor, x.raw(), y.raw());
  return y;
}

}  // namespace

StepSum::StepSum(Network& network, const std::vector<Tensor>& trained) : device_(device_of(network)) {
  for (const Tensor& value : trained) gradients_.push_back({value, {}});
  for (const Parameter* parameter : parameters(network)) {
    const Tensor& value = parameter->value;
    if (!parameter->buffer) continue;
    if (value.dtype() == DType::i64)
      counters_.push_back({value, *value.data<std::int64_t>()});
    else
      statistics_.push_back({value, value.clone(), {}});
  }
}

void StepSum::add(double share) {
  for (Gradient& gradient : gradients_)
    if (Tensor part = take_grad(*gradient.value.slot())) accumulate(gradient.sum, std::move(part));
  for (Statistic& statistic : statistics_) {
    Tensor moved = times(statistic.value, share);
    const Tensor before = times(statistic.before, -share);
    kernels(moved).elementwise.add({}, moved.count(), moved.raw(), before.raw(), moved.raw());
    accumulate(statistic.moved, std::move(moved));
    statistic.value.copy_from(statistic.before);
  }
  for (Counter& counter : counters_) {
    std::int64_t& now = *counter.value.data<std::int64_t>();
    counter.moved |= now != counter.before;
    now = counter.before;
  }
}

void StepSum::add_ranks(std::string& brought) {
  if (brought.empty()) {
    for (const Gradient& gradient : gradients_) brought += gradient.sum.grad ? '1' : '0';
    for (const Statistic& statistic : statistics_) brought += statistic.moved.grad ? '1' : '0';
    for (const Counter& counter : counters_) brought += counter.moved ? '1' : '0';
    for (const std::string& other : group().gather(brought))
      std::ranges::transform(brought, other, brought.begin(), [](char a, char b) { return std::max(a, b); });
  }

  auto present = brought.begin();
  std::vector<std::pair<GradSlot*, Shape>> sums;
  std::int64_t count = 0;
  const auto want = [&](GradSlot& sum, const Shape& shape) {
    if (*present++ == '0') return;
    sums.emplace_back(&sum, shape);
    count += shape.count();
  };
  for (Gradient& gradient : gradients_) want(gradient.sum, gradient.value.shape());
  for (Statistic& statistic : statistics_) want(statistic.moved, statistic.value.shape());
  for (Counter& counter : counters_) counter.moved = *present++ == '1';

  if (count == 0) return;
  const Tensor flat = Tensor::empty({count}, DType::f32, device_);
  const DeviceMemory& memory = memory_of(device_);
  const auto each = [&](const auto& visit) {
    float* at = static_cast<float*>(flat.raw());
    for (const auto& [sum, shape] : sums) {
      visit(*sum, shape, at);
      at += shape.count();
    }
  };
  each([&](GradSlot& sum, const Shape& shape, float* at) {
    if (sum.grad)
      memory.copy({}, at, sum.grad.raw(), sum.grad.bytes());
    else
      kernels(flat).elementwise.fill({}, shape.count(), -0.0, at);  // x + -0 is x, whatever its sign
    sum.grad = {};
  });
  group().all_reduce(flat);
  each([&](GradSlot& sum, const Shape& shape, const float* at) {
    sum.grad = Tensor::empty(shape, DType::f32, device_);
    memory.copy({}, sum.grad.raw(), at, sum.grad.bytes());
  });
}

void StepSum::finish(std::string& brought) {
  if (group().size() > 1) add_ranks(brought);
  for (Gradient& gradient : gradients_)
    if (gradient.sum.grad) accumulate(*gradient.value.slot(), take_grad(gradient.sum));
  for (const Statistic& statistic : statistics_) {
    const Tensor &value = statistic.value, &moved = statistic.moved.grad;
    if (moved) kernels(value).elementwise.add({}, value.count(), statistic.before.raw(), moved.raw(), value.raw());
  }
  for (const Counter& counter : counters_)
    if (counter.moved) ++*counter.value.data<std::int64_t>();
}

}  // namespace retort
