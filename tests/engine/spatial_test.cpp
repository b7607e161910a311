#include "engine/ops/spatial.h"

#include <doctest/doctest.h>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("pad: a border by hand, and gradients of padding and cropping") {
  const Tensor x = Tensor::from<float>({1, 2, 2, 1}, std::vector<float>{1, 2, 3, 4});
  const Tensor y = pad(x, {.top = 1, .left = 0, .bottom = 0, .right = 1, .fill = 9});
  CHECK(y.shape() == Shape{1, 3, 3, 1});
  const std::vector<float> expected = {9, 9, 9, 1, 2, 9, 3, 4, 9};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(y.data<float>()[i] == expected[i]);
  for (const Border& border : {Border{1, 2, 0, 1, 0.5}, Border{-1, 0, 1, -1, 0}, Border{-1, -1, -1, 0, 0}}) {
    const Function function = [&](const auto& in) { return pad(in[0], border); };
    CHECK(gradient_error(function, {random_tensor({2, 3, 4, 3}, 1)}) <= 1);
    CHECK(f32_error(function, {random_tensor({2, 3, 4, 3}, 1)}, 1) <= 1);
  }
  CHECK(error_message([&] { pad(x, {.top = -2}); }) ==
        "[pad] a border of -2, 0, 0, 0 leaves nothing of [1, 2, 2, 1]; use a larger --image-size");
}

TEST_CASE("multiply: equals, and one factor a channel of four axes or of two") {
  const Function product = [](const auto& in) { return multiply(in[0], in[1]); };
  const Tensor x = random_tensor({2, 3, 2, 5}, 1);
  for (const Tensor& s : {random_tensor({2, 3, 2, 5}, 2), random_tensor({2, 1, 1, 5}, 3), random_tensor({2, 5}, 4)}) {
    CHECK(gradient_error(product, {x, s}) <= 1);
    CHECK(f32_error(product, {x, s}, 8) <= 1);
  }
  CHECK(gradient_error([](const auto& in) { return multiply(in[0], in[0]); }, {x}) <= 1);
  CHECK(error_message([&] {
          multiply(x, random_tensor({2, 4}, 1));
        }).starts_with("[multiply] x is [2, 3, 2, 5], the factor [2, 4]; give two of one shape"));
}

TEST_CASE("take_channels: value, gradient, and channels that are not there") {
  for (const Shape& shape : {Shape{2, 3, 2, 5}, Shape{3, 5}, Shape{5}}) {
    const Function middle = [](const auto& in) { return take_channels(in[0], 1, 3); };
    const Tensor x = random_tensor(shape, 1);
    CHECK(middle({x}).data<double>()[0] == x.data<double>()[1]);
    CHECK(gradient_error(middle, {x}) <= 1);
  }
  CHECK(error_message([&] {
          take_channels(random_tensor({2, 5}, 1), 3, 3);
        }) == "[take_channels] channels 3 to 5 of [2, 5]; name some that are there");
}

TEST_CASE("add_to_each: every image and the same summand, gradients, and a summand of another size") {
  const Function sum = [](const auto& in) { return add_to_each(in[0], in[1]); };
  for (const Shape& shape : {Shape{3, 2, 5}, Shape{2, 4}, Shape{2, 2, 3, 2}}) {
    const Tensor x = random_tensor(shape, 1), s = random_tensor({shape.count() / shape[0]}, 2);
    CHECK(sum({x, s}).data<double>()[s.count()] == x.data<double>()[s.count()] + s.data<double>()[0]);
    CHECK(gradient_error(sum, {x, s}) <= 1);
    CHECK(f32_error(sum, {x, s}, 8) <= 1);
  }
  CHECK(error_message([] {
          add_to_each(Tensor::zeros({2, 3, 4}), Tensor::zeros({3, 3}));
        }).starts_with("[add_to_each] each image of [2, 3, 4] has 12 values, what is to be added f32 [3, 3]"));
}
