// The softmax kernels of the device under test.
#include "tests/cases/softmax.h"
#include "tests/simt/backends.h"

TEST_CASE("device softmax") { retort::test::run_cases(retort::test::kSoftmaxCases, retort::test::device_backends()); }
