// Cross-entropy and plain distillation on the device under test.
#include "tests/cases/loss.h"

#include "tests/simt/backends.h"

namespace retort {

TEST_CASE("device loss") { test::run_cases(test::kLossCases, test::device_backends()); }

TEST_CASE("device loss: a label out of range gives NaN, not another memory's contents") {
  const test::Backend device = test::device_backends()[0];
  for (const std::int64_t bad : {-1, 3, 1 << 30}) {
    test::Logits batch = test::logits<float>({2, 3}, 1);
    batch.labels = {0, bad};
    const test::Losses<float> losses(device, device.f32->loss, batch);
    CHECK(std::isnan(losses.cross_entropy(losses.targets({})).loss[0]));
  }
}

}  // namespace retort
