#include "engine/distill/mixup.h"

#include "engine/core/random.h"

namespace retort {

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
      const float* b = input.data<float>() + (n - 1 - i) * size;
      float* out = mixed.data<float>() + i * size;
      for (std::int64_t j = 0; j < size; ++j) out[j] = w * a[j] + (1 - w) * b[j];
    }
    input = mixed;
  }
  if (!batch.labels) return;
  targets.weight = weight;
  targets.labels2 = Tensor::empty({n}, DType::i64);
  for (std::int64_t i = 0; i < n; ++i)
    targets.labels2.data<std::int64_t>()[i] = batch.labels.data<std::int64_t>()[n - 1 - i];
}

}  // namespace retort
