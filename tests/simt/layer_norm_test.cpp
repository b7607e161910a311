// The layer norm kernels of the device under test.
#include "tests/cases/layer_norm.h"
#include "tests/simt/backends.h"

TEST_CASE("device layer norm") {
  retort::test::run_cases(retort::test::kLayerNormCases, retort::test::device_backends());
}
