// Optimizer steps on the device under test.
#include "tests/cases/optimizer.h"
#include "tests/simt/backends.h"

TEST_CASE("device optimizer") {
  retort::test::run_cases(retort::test::kOptimizerCases, retort::test::device_backends());
}
