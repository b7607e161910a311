#include "tests/cases/conv2d.h"

#include "tests/kernels/backends.h"

namespace retort {

// Without Winograd's algorithm, which has bounds of its own (winograd_test.cpp, winograd_line_test.cpp).
TEST_CASE("cpu conv2d") {
  const struct WithoutWinograd {
    WithoutWinograd() { set_winograd_enabled(false); }
    ~WithoutWinograd() { set_winograd_enabled(true); }
  } without_winograd;
  test::run_cases(test::kConv2dCases, test::cpu_backends());
}

TEST_CASE("cpu conv2d in bf16: a sample's result does not depend on the batch around it") {
  using namespace test::conv2d_cases;
  // One image has few rows, which take other blocks than many.
  const Conv2dGeometry g = {.n = 9, .h = 4, .w = 5, .c = 130, .k = 70, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1};
  const Operands all = operands(g, test::normal);
  Operands alone = all;
  alone.g.n = 1;
  for (auto* values : {&alone.x, &alone.dy}) values->resize(values->size() / 9);
  const test::Backend cpu = test::cpu_backends()[0];
  const Conv2dKernels& conv = cpu.bf16->conv2d;
  test::for_each_mode(cpu, [&](const test::Mode&) {
    Outputs of_all = Convolution<BFloat16>(cpu, conv, all).run();
    const Outputs of_one = Convolution<BFloat16>(cpu, conv, alone).run();
    of_all.y.resize(of_one.y.size());
    of_all.dx.resize(of_one.dx.size());
    CHECK(test::count_different(of_one.y, of_all.y) == 0);
    CHECK(test::count_different(of_one.dx, of_all.dx) == 0);
  });
}

}  // namespace retort
