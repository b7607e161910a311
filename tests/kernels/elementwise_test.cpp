#include "tests/cases/elementwise.h"

#include "tests/kernels/backends.h"

namespace retort {

TEST_CASE("cpu elementwise") { test::run_cases(test::kElementwiseCases, test::cpu_backends()); }

TEST_CASE("elementwise: the option A shortcut on a 3 x 3 image by hand, odd padding last") {
  const ShortcutGeometry g = {.n = 1, .h = 3, .w = 3, .c = 1, .k = 4};  // (4 - 1) / 2 = 1 before, 2 after
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<float> y = {0, 1, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0};
  const std::vector<float> dx = {1, 0, 3, 0, 0, 0, 7, 0, 9};
  for (const Device device : {Device::cpu, Device::reference}) {
    const KernelTable& kernels = kernels_for(device, DType::f32);
    std::vector<float> found = test::blank<float>(16), gradient = test::blank<float>(9);
    kernels.elementwise.shortcut_forward({}, g, x.data(), found.data());
    CHECK(found == y);
    kernels.elementwise.shortcut_backward({}, g, y.data(), gradient.data());
    CHECK(gradient == dx);
  }
}

}  // namespace retort
