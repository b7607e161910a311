// Batch normalisation on the device under test.
#include "tests/cases/batch_norm.h"
#include "tests/simt/backends.h"

TEST_CASE("device batch_norm") {
  retort::test::run_cases(retort::test::kBatchNormCases, retort::test::device_backends());
}
