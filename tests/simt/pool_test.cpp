// The pool kernels of the device under test.
#include "tests/cases/pool.h"
#include "tests/simt/backends.h"

TEST_CASE("device pool") { retort::test::run_cases(retort::test::kPoolCases, retort::test::device_backends()); }
