#include "tests/cases/batch_norm.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu batch_norm") { retort::test::run_cases(retort::test::kBatchNormCases, retort::test::cpu_backends()); }
