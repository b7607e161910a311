// Matrix products on the device under test, in each of its arithmetics.
#include "tests/cases/gemm.h"
#include "tests/simt/backends.h"

TEST_CASE("device gemm") { retort::test::run_cases(retort::test::kGemmCases, retort::test::product_backends()); }
