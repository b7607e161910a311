#include "engine/ops/fake_quantize.h"

#include <doctest/doctest.h>

#include <vector>

#include "engine/core/tape.h"
#include "tests/error_message.h"

using namespace retort;

namespace {

std::vector<float> values(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.count()}; }

}  // namespace

TEST_CASE("fake_quantize: 256 values, and the gradient of those within") {
  // 0.5 (q - 10): from -5 to 122.5.
  Tensor x = Tensor::from<float>({6}, std::vector<float>{0.3f, 0.2f, -5.2f, -5.3f, 122.7f, 122.8f}).require_grad();
  Tape tape;
  const Tensor y = fake_quantize(x, {0.5f, 10});
  CHECK(values(y) == std::vector<float>{0.5f, 0, -5, -5, 122.5f, 122.5f});
  tape.backward(y, Tensor::from<float>({6}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  CHECK(values(x.slot()->grad) == std::vector<float>{1, 2, 3, 0, 5, 0});
}

TEST_CASE("fake_quantize_weight: steps of each output channel, and the gradient as it is") {
  Tensor weight = Tensor::from<float>({2, 2}, std::vector<float>{127, -254, 0.6f, 2.9f}).require_grad();
  Tape tape;
  const Tensor y = fake_quantize_weight(weight);
  CHECK(values(y) == std::vector<float>{127, -254, 1, 2});
  tape.backward(y, Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4}));
  CHECK(values(weight.slot()->grad) == std::vector<float>{1, 2, 3, 4});
  CHECK(test::error_message([] { fake_quantize_weight(Tensor::zeros({2}, DType::i8)); }) ==
        "[fake_quantize_weight] the weight is i8; give f32 [..., out]");
}
