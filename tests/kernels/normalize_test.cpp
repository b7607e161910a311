#include "tests/cases/normalize.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu normalize") { retort::test::run_cases(retort::test::kNormalizeCases, retort::test::cpu_backends()); }
