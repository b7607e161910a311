// The soft terms beside plain distillation on the device under test.
#include "tests/cases/soft_loss.h"

#include "tests/simt/backends.h"

namespace retort {

TEST_CASE("device soft_loss") { test::run_cases(test::kSoftLossCases, test::device_backends()); }

TEST_CASE("device soft_loss: DKD and NKD read the label, lambda or not, and one out of range gives NaN") {
  const test::Backend device = test::device_backends()[0];
  test::Logits batch = test::logits<float>({2, 3}, 1);
  batch.labels = {0, 3};
  const test::Losses<float> losses(device, device.f32->loss, batch);
  for (const SoftLoss loss : {SoftLoss::dkd, SoftLoss::nkd})
    CHECK(std::isnan(losses.distillation({2, 0, Convention::convex, loss}, losses.targets({})).loss[0]));
}

}  // namespace retort
