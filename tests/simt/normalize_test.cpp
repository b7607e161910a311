// The kernels of rows of unit length of the device under test.
#include "tests/cases/normalize.h"
#include "tests/simt/backends.h"

TEST_CASE("device normalize") {
  retort::test::run_cases(retort::test::kNormalizeCases, retort::test::device_backends());
}
