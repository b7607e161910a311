#include "tests/cases/spatial.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu spatial") { retort::test::run_cases(retort::test::kSpatialCases, retort::test::cpu_backends()); }
