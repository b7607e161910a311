#include "engine/ops/pool.h"

#include <doctest/doctest.h>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

struct Case {
  Shape x;
  PoolOptions options;
  std::int64_t p, q;
};

const Case cases[] = {
    {{2, 4, 6, 2}, {}, 2, 3},
    {{1, 5, 5, 2}, {.kernel = 3, .stride = 2}, 2, 2},
    {{1, 6, 7, 2}, {.kernel = 3, .stride = 2, .pad = 1}, 3, 4},
    {{1, 5, 4, 3}, {.kernel = 3, .stride = 1, .pad = 1}, 5, 4},
    {{1, 6, 6, 1}, {.kernel = 3, .stride = 2, .ceil_mode = true}, 3, 3},
    {{1, 5, 6, 2}, {.kernel = 2, .stride = 3, .pad = 1, .ceil_mode = true}, 2, 3},
    {{1, 6, 6, 2}, {.kernel = 3, .stride = 2, .pad = 1, .ceil_mode = true, .count_include_pad = false}, 4, 4},
    {{1, 5, 4, 2}, {.kernel = 3, .stride = 1, .pad = 1, .count_include_pad = false}, 5, 4},
    {{2, 3, 3, 2}, {.kernel = 3, .stride = 3}, 1, 1},
};

}  // namespace

TEST_CASE("max_pool and average_pool: shapes and gradients, for every kind of window") {
  for (const Case& c : cases) {
    CAPTURE(to_string(c.x));
    CAPTURE(c.options.kernel);
    const Function max = [&c](const auto& in) { return max_pool(in[0], c.options); };
    const Function average = [&c](const auto& in) { return average_pool(in[0], c.options); };
    const Tensor x = spaced_tensor(c.x, 1);
    CHECK(max({x}).shape() == Shape{c.x[0], c.p, c.q, c.x[3]});
    CHECK(average({x}).shape() == Shape{c.x[0], c.p, c.q, c.x[3]});
    CHECK(gradient_error(max, {x}) <= 1);
    CHECK(gradient_error(average, {x}) <= 1);
    CHECK(f32_error(max, {x}, 9) <= 1);
    CHECK(f32_error(average, {x}, 12) <= 1);
  }
}

TEST_CASE("adaptive_average_pool: gradients, global and not, up and down") {
  const std::int64_t sizes[][2] = {{1, 1}, {2, 3}, {5, 4}, {7, 7}};
  for (const auto& size : sizes) {
    const Function function = [&size](const auto& in) { return adaptive_average_pool(in[0], size[0], size[1]); };
    const Tensor x = random_tensor({2, 5, 4, 2}, 1);
    CHECK(function({x}).shape() == Shape{2, size[0], size[1], 2});
    CHECK(gradient_error(function, {x}) <= 1);
    CHECK(f32_error(function, {x}, 24) <= 1);
  }
}

TEST_CASE("pooling: known values, with padding counted and not") {
  const std::vector<double> values{1, 2, 3, 4};
  const Tensor x = Tensor::from<double>({1, 2, 2, 1}, values);
  CHECK(max_pool(x, {}).item() == 4);
  CHECK(average_pool(x, {}).item() == 2.5);
  CHECK(adaptive_average_pool(x, 1, 1).item() == 2.5);
  PoolOptions padded{.kernel = 2, .stride = 2, .pad = 1};
  CHECK(average_pool(x, padded).data<double>()[3] == 1);
  padded.count_include_pad = false;
  CHECK(average_pool(x, padded).data<double>()[3] == 4);
}

TEST_CASE("max_pool: saves the index of the maximum under a tape, the averages save nothing") {
  const Tensor x = spaced_tensor({1, 4, 4, 2}, 1).require_grad();
  const Tape tape;
  const Tensor a = max_pool(x, {}), b = average_pool(x, {}), c = adaptive_average_pool(x, 1, 1);
  CHECK(x.unique());
  CHECK(a.unique());
  CHECK(b.unique());
  CHECK(c.unique());
}

TEST_CASE("pooling: windows that do not fit are named") {
  const Tensor x = Tensor::zeros({1, 3, 8, 4});
  CHECK(error_message([&] { max_pool(x, {.kernel = 4}); }) ==
        "[max_pool] the image [1, 3, 8, 4] with padding 0 is smaller than the window of 4 x 4; use a larger "
        "--image-size");
  CHECK(error_message([&] { average_pool(x, {.kernel = 7, .stride = 1, .pad = 1}); }) ==
        "[average_pool] the image [1, 3, 8, 4] with padding 1 is smaller than the window of 7 x 7; use a larger "
        "--image-size");
  CHECK(error_message([&] { max_pool(x, {.kernel = 3, .stride = 2, .pad = 2}); }) ==
        "[max_pool] window 3, stride 2, padding 2; give at least 1, 1 and 0, and padding of at most half the window");
  CHECK(
      error_message([&] { average_pool(x, {.stride = 0}); }) ==
      "[average_pool] window 2, stride 0, padding 0; give at least 1, 1 and 0, and padding of at most half the window");
  CHECK(error_message([&] {
          max_pool(Tensor::zeros({3, 3}), {});
        }) == "[max_pool] the input is f32 [3, 3]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([&] {
          average_pool(Tensor::zeros({3, 3}), {});
        }) == "[average_pool] the input is f32 [3, 3]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([&] {
          adaptive_average_pool(Tensor::zeros({3, 3}), 1, 1);
        }) == "[adaptive_average_pool] the input is f32 [3, 3]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([&] { adaptive_average_pool(x, 0, 1); }) ==
        "[adaptive_average_pool] [1, 3, 8, 4] to 0 x 1; both need at least one row and column");
}
