#include "engine/distill/step_sum.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/group/group.h"
#include "kernels/memory.h"

namespace retort {
namespace {

/// Elements from which on a bucket takes no further sum: 16 MB.
constexpr std::int64_t kBucket = 4 << 20;

Tensor times(const Tensor& x, double factor) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).elementwise.scale({}, x.count(), factor, x.raw(), y.raw());
  return y;
}

}  // namespace

StepSum::StepSum(Network& network, const std::vector<Tensor>& trained, RankPlan& plan)
    : device_(device_of(network)), plan_(plan) {
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

StepSum::Sum StepSum::sum_at(std::size_t place) {
  if (place < gradients_.size()) return {&gradients_[place].sum, gradients_[place].value.shape()};
  Statistic& statistic = statistics_[place - gradients_.size()];
  return {&statistic.moved, statistic.value.shape()};
}

void StepSum::take(std::size_t place) {
  Gradient& gradient = gradients_[place];
  if (Tensor part = take_grad(*gradient.value.slot())) accumulate(gradient.sum, std::move(part));
}

void StepSum::take_early(Tape& tape) {
  if (!group().overlaps()) return;
  std::vector<GradSlot*> slots;
  std::unordered_map<const GradSlot*, std::size_t> places;
  for (std::size_t place = 0; place < gradients_.size(); ++place) {
    slots.push_back(gradients_[place].value.slot().get());
    places[slots.back()] = place;
  }
  tape.report_whole(slots, [this, places = std::move(places),
                            ready = std::vector<bool>(slots.size())](const GradSlot& slot) mutable {
    const std::size_t place = places.at(&slot);
    take(place);
    completed_.push_back(place);
    ready[place] = true;
    const auto is_ready = [&](std::size_t sum) { return sum < ready.size() && ready[sum]; };
    while (under_way_.size() < plan_.buckets.size() && std::ranges::all_of(plan_.buckets[under_way_.size()], is_ready))
      start_bucket();
    group().advance();
  });
}

void StepSum::add(double share) {
  for (std::size_t place = 0; place < gradients_.size(); ++place) take(place);
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

/// Makes the plan: the sums that any rank has, gradients in the order in which rank 0's backward completed them.
void StepSum::agree() {
  const std::size_t sums = gradients_.size() + statistics_.size();
  std::string any;
  for (std::size_t place = 0; place < sums; ++place) any += sum_at(place).slot->grad ? '1' : '0';
  for (const Counter& counter : counters_) any += counter.moved ? '1' : '0';
  for (const std::string& other : group().gather(any))
    std::ranges::transform(any, other, any.begin(), [](char a, char b) { return std::max(a, b); });
  for (std::size_t counter = sums; counter < any.size(); ++counter) plan_.counters.push_back(any[counter] == '1');

  std::vector<std::uint64_t> order(completed_.begin(), completed_.end());
  for (std::size_t place = 0; place < sums; ++place)
    if (std::ranges::find(completed_, place) == completed_.end()) order.push_back(place);
  group().broadcast(std::as_writable_bytes(std::span(order)));
  const std::int64_t most = group().overlaps() ? kBucket : std::numeric_limits<std::int64_t>::max();
  std::int64_t count = most;
  for (const std::uint64_t place : order) {
    if (any[place] == '0') continue;
    if (count >= most) {
      plan_.buckets.emplace_back();
      count = 0;
    }
    plan_.buckets.back().push_back(place);
    count += sum_at(place).shape.count();
  }
}

/// Hands the next bucket's sums to the group.
void StepSum::start_bucket() {
  const std::vector<std::size_t>& bucket = plan_.buckets[under_way_.size()];
  std::int64_t count = 0;
  for (const std::size_t place : bucket) count += sum_at(place).shape.count();
  const Tensor flat = Tensor::empty({count}, DType::f32, device_);
  float* at = static_cast<float*>(flat.raw());
  for (const std::size_t place : bucket) {
    const auto [slot, shape] = sum_at(place);
    if (const Tensor own = take_grad(*slot))
      memory_of(device_).copy({}, at, own.raw(), own.bytes());
    else
      kernels(flat).elementwise.fill({}, shape.count(), -0.0, at);  // x + -0 is x, whatever its sign
    at += shape.count();
  }
  group().start_all_reduce(flat);
  under_way_.push_back(flat);
}

void StepSum::add_ranks() {
  if (plan_.buckets.empty() && plan_.counters.empty()) agree();
  while (under_way_.size() < plan_.buckets.size()) start_bucket();
  group().finish_all_reduce();
  for (std::size_t i = 0; i < under_way_.size(); ++i) {
    const float* at = static_cast<const float*>(under_way_[i].raw());
    for (const std::size_t place : plan_.buckets[i]) {
      const auto [slot, shape] = sum_at(place);
      check(!slot->grad, "[step sum] a gradient came after its bucket was sent");
      slot->grad = Tensor::empty(shape, DType::f32, device_);
      memory_of(device_).copy({}, slot->grad.raw(), at, slot->grad.bytes());
      at += shape.count();
    }
    under_way_[i] = {};
  }
  for (std::size_t i = 0; i < counters_.size(); ++i) counters_[i].moved = plan_.counters[i];
}

void StepSum::finish() {
  if (group().size() > 1) add_ranks();
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
