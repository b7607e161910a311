// CutMix: what is pasted where, and that the labels share by area.
#include "engine/distill/cutmix.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/engine/named_dataset.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Six pictures at 8 x 8 and 16 x 16, each of the one value 1 + its row.
Batch six() {
  Batch batch;
  batch.indices = {3, 0, 2, 1, 5, 4};
  for (const std::int64_t side : {8, 16}) {
    const auto number = [side](std::int64_t pixel) { return 1 + pixel / (side * side); };
    Tensor x = Tensor::empty({6, side, side, 1});
    for (std::int64_t i = 0; i < x.count(); ++i) x.data<float>()[i] = static_cast<float>(number(i));
    batch.inputs.push_back(x);
  }
  batch.labels = Tensor::empty({6}, DType::i64);
  for (std::int64_t i = 0; i < 6; ++i) batch.labels.data<std::int64_t>()[i] = 10 + i;
  return batch;
}

std::vector<float> pixels(double alpha, std::uint64_t seed, std::uint64_t epoch) {
  Batch batch = six();
  Targets targets;
  cutmix(batch, targets, alpha, seed, epoch, Named({3, 3}));
  return {batch.inputs[1].data<float>(), batch.inputs[1].data<float>() + batch.inputs[1].count()};
}

}  // namespace

TEST_CASE("cutmix: a box of the partner, the same places at each size, labels by the pixels that stay") {
  bool some = false, all_kept = true;
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    Batch batch = six();
    batch.labelled = 4;
    Targets targets;
    cutmix(batch, targets, 1, 2, epoch, Named({3, 3}));
    const std::vector<std::int64_t> partner = {3, 2, 1, 0, 5, 4};
    for (std::int64_t i = 0; i < 6; ++i) {
      CHECK(batch.labels.data<std::int64_t>()[i] == 10 + i);
      CHECK(targets.labels2.data<std::int64_t>()[i] == 10 + partner[static_cast<std::size_t>(i)]);
      const float own = static_cast<float>(1 + i), other = static_cast<float>(1 + partner[static_cast<std::size_t>(i)]);
      for (const Tensor& input : batch.inputs) {
        const std::int64_t side = input.shape()[1];
        std::int64_t left = side, right = 0, top = side, bottom = 0, pasted = 0;
        for (std::int64_t y = 0; y < side; ++y)
          for (std::int64_t x = 0; x < side; ++x) {
            const float value = input.data<float>()[(i * side + y) * side + x];
            CHECK((value == own || value == other));
            if (value != other) continue;
            ++pasted;
            left = std::min(left, x);
            right = std::max(right, x + 1);
            top = std::min(top, y);
            bottom = std::max(bottom, y + 1);
          }
        if (pasted) CHECK(pasted == (right - left) * (bottom - top));  // a full rectangle
        const double kept = 1 - static_cast<double>(pasted) / static_cast<double>(side * side);
        // The other size rounds each edge by half a pixel of its own.
        CHECK(std::abs(targets.weight.data<float>()[i] - kept) <= (side == 8 ? 1e-6 : 4 * 0.5 / 8 + 1e-6));
        some |= pasted > 0;
        all_kept &= pasted == 0;
      }
    }
  }
  CHECK(some);
  CHECK_FALSE(all_kept);
}

TEST_CASE("cutmix: draws from the seed, the epoch and the sample's name") {
  const std::vector<float> first = pixels(1, 1, 5);
  CHECK(pixels(1, 1, 5) == first);
  CHECK(pixels(1, 2, 5) != first);
  CHECK(pixels(1, 1, 6) != first);
}

TEST_CASE("cutmix: pictures without labels have no second label") {
  Batch batch = six();
  batch.labels = {};
  Targets targets;
  cutmix(batch, targets, 1, 2, 3, Named({3, 3}));
  CHECK_FALSE(targets.labels2);
  CHECK_FALSE(targets.weight);
}
