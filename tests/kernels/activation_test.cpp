#include "tests/cases/activation.h"

#include "tests/kernels/backends.h"

TEST_CASE("cpu activation") { retort::test::run_cases(retort::test::kActivationCases, retort::test::cpu_backends()); }
