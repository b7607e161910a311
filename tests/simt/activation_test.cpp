// The activation kernels of the device under test.
#include "tests/cases/activation.h"
#include "tests/simt/backends.h"

TEST_CASE("device activation") {
  retort::test::run_cases(retort::test::kActivationCases, retort::test::device_backends());
}
