// The matmul kernels of the device under test.
#include "tests/cases/matmul.h"
#include "tests/simt/backends.h"

TEST_CASE("device matmul") { retort::test::run_cases(retort::test::kMatmulCases, retort::test::device_backends()); }
