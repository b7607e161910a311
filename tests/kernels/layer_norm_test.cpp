#include "tests/cases/layer_norm.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu layer norm") { retort::test::run_cases(retort::test::kLayerNormCases, retort::test::cpu_backends()); }
