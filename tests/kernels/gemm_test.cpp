#include "tests/cases/gemm.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu gemm") { retort::test::run_cases(retort::test::kGemmCases, retort::test::cpu_backends()); }
