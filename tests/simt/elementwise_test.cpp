// The elementwise kernels of the device under test.
#include "tests/cases/elementwise.h"
#include "tests/simt/backends.h"

TEST_CASE("device elementwise") {
  retort::test::run_cases(retort::test::kElementwiseCases, retort::test::device_backends());
}
