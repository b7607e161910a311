#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("shortcut: every stride-th pixel between channels of zeros") {
  const Tensor x = random_tensor({2, 5, 4, 2}, 1);
  const Tensor y = shortcut(x, 6, 2);
  CHECK(y.shape() == Shape{2, 3, 2, 6});
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t p = 0; p < 3; ++p)
      for (std::int64_t q = 0; q < 2; ++q)
        for (std::int64_t c = 0; c < 6; ++c) {
          const bool inside = c >= 2 && c < 4;
          const double expected = inside ? x.data<double>()[((n * 5 + 2 * p) * 4 + 2 * q) * 2 + c - 2] : 0;
          CHECK(y.data<double>()[((n * 3 + p) * 2 + q) * 6 + c] == expected);
        }
}

TEST_CASE("shortcut: gradient, for odd and even extents, strides and channel counts") {
  struct {
    std::int64_t h, w, c, k, stride;
  } const cases[] = {{4, 4, 2, 4, 2}, {5, 3, 2, 5, 2}, {3, 3, 2, 2, 1}, {7, 4, 1, 4, 3}};
  for (const auto& g : cases) {
    const Function function = [&g](const auto& in) { return shortcut(in[0], g.k, g.stride); };
    const Tensor x = random_tensor({2, g.h, g.w, g.c}, 1);
    CHECK(gradient_error(function, {x}) <= 1);
    CHECK(f32_error(function, {x}, 1) <= 1);
  }
}

TEST_CASE("shortcut: fewer channels, a stride below 1 or another rank are refused") {
  const Tensor x = Tensor::zeros({1, 4, 4, 8});
  const std::string expected =
      " from [1, 4, 4, 8]; give at least as many channels as the input has, and a stride of 1 or more";
  CHECK(error_message([&] { shortcut(x, 4, 2); }) == "[shortcut] 4 channels at stride 2" + expected);
  CHECK(error_message([&] { shortcut(x, 16, 0); }) == "[shortcut] 16 channels at stride 0" + expected);
  CHECK(error_message([&] {
          shortcut(Tensor::zeros({4, 8}), 16, 2);
        }) == "[shortcut] the input is f32 [4, 8]; give f32, f64 or bf16 [n, h, w, c]");
}
