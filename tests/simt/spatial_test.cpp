// The spatial kernels of the device under test.
#include "tests/cases/spatial.h"
#include "tests/simt/backends.h"

TEST_CASE("device spatial") { retort::test::run_cases(retort::test::kSpatialCases, retort::test::device_backends()); }
