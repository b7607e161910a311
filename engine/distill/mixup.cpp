#include "engine/distill/mixup.h"

#include "engine/core/random.h"

namespace retort {

std::int64_t mixing_partner(const Batch& batch, std::int64_t row) {
  const auto n = static_cast<std::int64_t>(batch.indices.size());
  const std::int64_t labelled = batch.labelled.value_or(n);
  return row < labelled ? labelled - 1 - row : labelled + n - 1 - row;
}

void set_mixed_targets(const Batch& batch, Tensor weight, Targets& targets) {
  const std::int64_t n = weight.count();
  targets.weight = std::move(weight);
  targets.labels2 = Tensor::empty({n}, DType::i64);
  for (std::int64_t i = 0; i < n; ++i)
    targets.labels2.data<std::int64_t>()[i] = batch.labels.data<std::int64_t>()[mixing_partner(batch, i)];
}

void mixup(Batch& batch, Targets& targets, double alpha, std::uint64_t seed, std::uint64_t epoch,
           const Dataset& dataset) {
  const std::int64_t n = static_cast<std::int64_t>(batch.indices.size());
  Tensor weight = Tensor::empty({n});
  for (std::int64_t i = 0; i < n; ++i)
    weight.data<float>()[i] =
        static_cast<float>(Random::of(seed, "mixup", epoch, dataset.name(batch.indices[i])).beta(alpha));
  for (Tensor& input : batch.inputs) {
    Tensor mixed = Tensor::empty(input.shape());
    const std::int64_t size = input.count() / n;
    for (std::int64_t i = 0; i < n; ++i) {
      const float w = weight.data<float>()[i];
      const float* a = input.data<float>() + i * size;
      const float* b = input.data<float>() + mixing_partner(batch, i) * size;
      float* out = mixed.data<float>() + i * size;
      for (std::int64_t j = 0; j < size; ++j) out[j] = w * a[j] + (1 - w) * b[j];
    }
    input = mixed;
  }
  if (batch.labels) set_mixed_targets(batch, std::move(weight), targets);
}

}  // namespace retort
