#include "engine/nn/ema.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "kernels/elementwise.h"

namespace retort {

WeightAverage::WeightAverage(const std::vector<Parameter*>& parameters, double decay) : decay_(decay) {
  if (!(decay > 0 && decay < 1))
    throw UsageError(text("--ema: ", decay, " is not between 0 and 1; give one like 0.999"));
  for (Parameter* parameter : parameters)
    if (!parameter->frozen) entries_.push_back({parameter, parameter->value.clone()});
}

void WeightAverage::update(std::int64_t step) {
  const auto t = static_cast<double>(step);
  const double d = std::min(decay_, (1 + t) / (10 + t));
  for (Entry& entry : entries_) {
    const Tensor& value = entry.parameter->value;
    Tensor& average = entry.average;
    if (value.dtype() == DType::i64) {
      average.copy_from(value);
      continue;
    }
    const ElementwiseKernels& kernel = kernels(value).elementwise;
    const Tensor part = Tensor::empty_like(value, value.shape());
    kernel.scale({}, value.count(), 1 - d, value.raw(), part.raw());
    kernel.scale({}, value.count(), d, average.raw(), average.raw());
    kernel.add({}, value.count(), average.raw(), part.raw(), average.raw());
  }
}

void WeightAverage::swap() {
  // The elements move, not the handles: a captured step reads and writes them where they are.
  for (Entry& entry : entries_) {
    const Tensor value = entry.parameter->value.clone();
    entry.parameter->value.copy_from(entry.average);
    entry.average.copy_from(value);
  }
}

std::vector<std::pair<std::string, Tensor>> WeightAverage::state() {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const Entry& entry : entries_) state.emplace_back(entry.parameter->name, entry.average);
  return state;
}

}  // namespace retort
