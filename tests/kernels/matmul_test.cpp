#include "tests/cases/matmul.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu matmul") { retort::test::run_cases(retort::test::kMatmulCases, retort::test::cpu_backends()); }
