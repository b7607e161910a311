// Convolutions on the device under test, in each of its arithmetics.
#include "tests/cases/conv2d.h"
#include "tests/simt/backends.h"

TEST_CASE("device conv2d") { retort::test::run_cases(retort::test::kConv2dCases, retort::test::product_backends()); }
