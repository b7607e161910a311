#include "engine/ops/matmul.h"

#include <doctest/doctest.h>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("matmul: two heads by hand, apart and side by side") {
  // a: heads [1 2] and [3 4]; b: heads [5; 6] and [7; 8].
  const Tensor a = Tensor::from<double>({1, 1, 4}, std::vector<double>{1, 2, 3, 4});
  const Tensor b = Tensor::from<double>({1, 2, 2, 1}, std::vector<double>{5, 6, 7, 8});
  const Tensor y = matmul(a, b, {.heads = 2, .a = Heads::in_channels});
  CHECK(y.shape() == Shape{1, 2, 1, 1});
  CHECK(y.data<double>()[0] == 17);
  CHECK(y.data<double>()[1] == 53);
  CHECK(matmul(a, b, {.heads = 2, .a = Heads::in_channels, .y = Heads::in_channels}).shape() == Shape{1, 1, 2});
}

TEST_CASE("matmul: gradients for every place of the heads and transposition") {
  constexpr std::int64_t n = 2, heads = 2, m = 3, k = 2, columns = 4;
  const auto shape = [](Heads layout, std::int64_t rows, std::int64_t width) {
    return layout == Heads::apart ? Shape{n, heads, rows, width} : Shape{n, rows, heads * width};
  };
  for (int variant = 0; variant < 32; ++variant) {
    CAPTURE(variant);
    const auto layout = [&](int bit) { return (variant & bit) != 0 ? Heads::in_channels : Heads::apart; };
    const MatmulOptions o{heads, layout(4), layout(8), layout(16), (variant & 1) != 0, (variant & 2) != 0};
    const std::vector<Tensor> inputs = {
        random_tensor(o.transpose_a ? shape(o.a, k, m) : shape(o.a, m, k), 1),
        random_tensor(o.transpose_b ? shape(o.b, columns, k) : shape(o.b, k, columns), 2)};
    const Function function = [&](const auto& in) { return matmul(in[0], in[1], o); };
    CHECK(function(inputs).shape() == shape(o.y, m, columns));
    CHECK(gradient_error(function, inputs) <= 1);
    CHECK(f32_error(function, inputs, 16) <= 1);
  }
  // One tensor on both sides.
  const Function square = [](const auto& in) { return matmul(in[0], in[0], {.heads = 1, .transpose_b = true}); };
  CHECK(gradient_error(square, {random_tensor({2, 1, 3, 2}, 5)}) <= 1);
}

TEST_CASE("matmul: operands that do not fit are refused") {
  const Tensor a = Tensor::zeros({1, 2, 3, 4}), b = Tensor::zeros({1, 2, 5, 6});
  CHECK(
      error_message([&] { matmul(a, b, {.heads = 2}); }) ==
      "[matmul] a is f32 [1, 2, 3, 4], b f32 [1, 2, 5, 6]: 4 columns meet 5 rows; give operands of one dtype and batch "
      "that fit");
  CHECK(error_message([&] { matmul(a, a, {.heads = 3}); }) ==
        "[matmul] a is [1, 2, 3, 4]; give 3 heads, [n, heads, rows, columns]");
  CHECK(error_message([&] {
          matmul(Tensor::zeros({1, 3, 5}), a, {.heads = 2, .a = Heads::in_channels});
        }) == "[matmul] a is [1, 3, 5]; give 2 heads, [n, rows, heads * columns]");
}
