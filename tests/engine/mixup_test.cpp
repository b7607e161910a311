// Mixup: what is blended with what, by how much.
#include "engine/distill/mixup.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/engine/named_dataset.h"

namespace retort {
namespace {

const std::vector<float> kPixels = {1, -2, 30, 4, 5, 600, 7, -8};

Batch batch_of_four() {
  Batch batch;
  batch.indices = {3, 0, 2, 1};
  for (int input = 0; input < 2; ++input) {
    Tensor x = Tensor::empty({4, 1, 1, 2});
    std::copy(kPixels.begin(), kPixels.end(), x.data<float>());
    batch.inputs.push_back(x);
  }
  batch.labels = Tensor::empty({4}, DType::i64);
  for (std::int64_t i = 0; i < 4; ++i) batch.labels.data<std::int64_t>()[i] = 10 + i;
  return batch;
}

std::vector<float> mixed_weights(std::uint64_t seed, std::uint64_t epoch) {
  Batch batch = batch_of_four();
  Targets targets;
  mixup(batch, targets, 0.4, seed, epoch, test::Named({2, 2}));
  return {targets.weight.data<float>(), targets.weight.data<float>() + 4};
}

}  // namespace

TEST_CASE("mixup blends sample i with sample n - 1 - i in every input, and says by how much") {
  Batch batch = batch_of_four();
  Targets targets;
  mixup(batch, targets, 0.4, 1, 5, test::Named({2, 2}));
  const float* const w = targets.weight.data<float>();
  for (std::int64_t i = 0; i < 4; ++i) {
    CHECK(w[i] >= 0);
    CHECK(w[i] <= 1);
    CHECK(batch.labels.data<std::int64_t>()[i] == 10 + i);
    CHECK(targets.labels2.data<std::int64_t>()[i] == 13 - i);
    for (const Tensor& input : batch.inputs)
      for (std::int64_t j = 0; j < 2; ++j)
        // Three roundings of numbers up to 600.
        CHECK(std::abs(input.data<float>()[2 * i + j] -
                       (w[i] * kPixels[static_cast<std::size_t>(2 * i + j)] +
                        (1 - w[i]) * kPixels[static_cast<std::size_t>(2 * (3 - i) + j)])) <= 3 * 600 * 6e-8);
  }
}

TEST_CASE("mixup draws from the seed, the epoch and the sample's name") {
  const std::vector<float> first = mixed_weights(1, 5);
  CHECK(mixed_weights(1, 5) == first);
  CHECK(mixed_weights(2, 5) != first);
  CHECK(mixed_weights(1, 6) != first);
  CHECK(first[0] != first[1]);
}

TEST_CASE("mixup blends rows with a label among themselves, and rows without") {
  Batch batch = batch_of_four();
  batch.labelled = 3;
  Targets targets;
  mixup(batch, targets, 0.4, 1, 5, test::Named({2, 2}));
  const float* const w = targets.weight.data<float>();
  const std::vector<std::int64_t> partner = {2, 1, 0, 3};
  for (std::int64_t i = 0; i < 4; ++i) {
    CHECK(targets.labels2.data<std::int64_t>()[i] == 10 + partner[i]);
    for (std::int64_t j = 0; j < 2; ++j)
      CHECK(std::abs(batch.inputs[1].data<float>()[2 * i + j] -
                     (w[i] * kPixels[2 * i + j] + (1 - w[i]) * kPixels[2 * partner[i] + j])) <= 3 * 600 * 6e-8);
  }
}

TEST_CASE("mixup of images without labels has no second label") {
  Batch batch = batch_of_four();
  batch.labels = {};
  Targets targets;
  mixup(batch, targets, 0.4, 1, 5, test::Named({2, 2}));
  CHECK_FALSE(targets.labels2);
  CHECK_FALSE(targets.weight);
}

}  // namespace retort
