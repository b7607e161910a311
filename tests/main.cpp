#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "kernels/memory.h"

/// Status 77 (skipped) where RETORT_TEST_DEVICE=cuda asks for a GPU that is not there.
int main(int argc, char** argv) {
  const char* const device = std::getenv("RETORT_TEST_DEVICE");
  if (device && std::string_view(device) == "cuda" && !retort::device_available(retort::Device::cuda)) {
    std::printf("skipped: cuda: %s\n", retort::device_missing(retort::Device::cuda));
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
