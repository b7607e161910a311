// A whole training step in bf16 on the CPU, against double.
#include <doctest/doctest.h>

#include "kernels/cpu/simd/simd.h"
#include "tests/distillation_step.h"

namespace retort {

TEST_CASE("bf16 on the CPU: a distillation step of resnet20 is as near double as mixed precision can be") {
  const ModelSpec spec = test::spec_of("resnet20", 16, 5);
  const test::Step exact = test::distillation_step(spec, 4, {Device::cpu, DType::f64});
  const SimdLevel level_before = simd_level();
  for (const SimdLevel level :
       {SimdLevel::plain, SimdLevel::neon, SimdLevel::avx2, SimdLevel::avx512, SimdLevel::avx512_bf16}) {
    if (!simd_available(level)) continue;
    set_simd_level(level);
    CAPTURE(std::string(simd_name(level)));
    const test::Step mixed = test::distillation_step(spec, 4, {Device::cpu, DType::bf16});
    MESSAGE("loss ", mixed.loss, " against ", exact.loss, ", gradients off by ", test::distance(mixed, exact));
    // 20 layers of batch norm on few pixels multiply roundings: PyTorch's autocast to bf16 on this network, images of
    // this size and batches of 4 is off by 0.28 to 0.31 (four seeds).
    CHECK_FALSE(!(std::fabs(mixed.loss - exact.loss) <= 0.025 * exact.loss));
    CHECK_FALSE(!(test::distance(mixed, exact) <= 0.45));
  }
  set_simd_level(level_before);
}

}  // namespace retort
