// The dropout kernels of the device under test.
#include "tests/cases/dropout.h"
#include "tests/simt/backends.h"

TEST_CASE("device dropout") { retort::test::run_cases(retort::test::kDropoutCases, retort::test::device_backends()); }
