#include "tests/cases/pool.h"

#include "tests/kernels/backends.h"

namespace retort {

TEST_CASE("cpu pool") { test::run_cases(test::kPoolCases, test::cpu_backends()); }

TEST_CASE("pool: extents follow PyTorch's rule") {
  CHECK(Pool2dGeometry{.h = 6, .kernel_h = 3, .stride_h = 2}.p() == 2);
  CHECK(Pool2dGeometry{.h = 6, .kernel_h = 3, .stride_h = 2, .ceil_mode = true}.p() == 3);
  // The fourth window would start in the right padding.
  CHECK(Pool2dGeometry{.h = 5, .kernel_h = 2, .stride_h = 2, .pad_h = 1, .ceil_mode = true}.p() == 3);
}

TEST_CASE("reference pool: by hand") {
  const PoolKernels& kernels = test::oracle().pool;
  const std::vector<double> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};  // 3 x 3
  Pool2dGeometry g = {.n = 1,
                      .h = 3,
                      .w = 3,
                      .c = 1,
                      .kernel_h = 2,
                      .kernel_w = 2,
                      .stride_h = 2,
                      .stride_w = 2,
                      .pad_h = 1,
                      .pad_w = 1};  // windows {1}, {2, 3}, {4, 7}, {5, 6, 8, 9}
  std::vector<double> y = test::blank<double>(4), dx = test::blank<double>(9);
  std::vector<std::int32_t> index(4, -1);
  kernels.max_forward({}, g, x.data(), y.data(), index.data());
  CHECK(y == std::vector<double>{1, 3, 7, 9});
  CHECK(index == std::vector<std::int32_t>{0, 2, 6, 8});
  const std::vector<double> dy = {4, 8, 12, 16};
  kernels.max_backward({}, g, dy.data(), index.data(), dx.data());
  CHECK(dx == std::vector<double>{4, 0, 8, 0, 0, 0, 12, 0, 16});
  kernels.average_forward({}, g, x.data(), y.data());
  CHECK(y == std::vector<double>{0.25, 1.25, 2.75, 7});
  kernels.average_backward({}, g, dy.data(), dx.data());
  CHECK(dx == std::vector<double>{1, 2, 2, 3, 4, 4, 3, 4, 4});
  g.count_include_pad = false;
  kernels.average_forward({}, g, x.data(), y.data());
  CHECK(y == std::vector<double>{1, 2.5, 5.5, 7});
  kernels.average_backward({}, g, dy.data(), dx.data());
  CHECK(dx == std::vector<double>{4, 4, 4, 6, 4, 4, 6, 4, 4});

  const AdaptivePoolGeometry a = {.n = 1, .h = 3, .w = 3, .c = 1, .p = 2, .q = 1};  // rows {0, 1} and {1, 2}
  y = test::blank<double>(2);
  kernels.adaptive_forward({}, a, x.data(), y.data());
  CHECK(y == std::vector<double>{3.5, 6.5});
  const std::vector<double> da = {6, 12};
  kernels.adaptive_backward({}, a, da.data(), dx.data());
  CHECK(dx == std::vector<double>{1, 1, 1, 3, 3, 3, 2, 2, 2});
}

}  // namespace retort
