#include "engine/ops/int8.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/error_message.h"

using namespace retort;
using test::error_message;

namespace {

Tensor bytes(const Shape& shape, const std::vector<std::uint8_t>& values) {
  return Tensor::from<std::uint8_t>(shape, values);
}

std::vector<std::uint8_t> values(const Tensor& x) {
  return {x.data<std::uint8_t>(), x.data<std::uint8_t>() + x.count()};
}

void says(const std::string& found, const std::string& expected) {
  CAPTURE(found);
  CHECK(found.find(expected) != found.npos);
}

}  // namespace

TEST_CASE("int8 convolution: scales, zero points, a sum and ReLU by hand") {
  // x = 2 (q - 3): 2, -4; w = 0.5 q: 5, 10 and -1, 0.5; bias 1 and 4.
  const Tensor x = bytes({1, 1, 1, 2}, {4, 1});
  const std::vector<std::int8_t> weight = {10, -2, 20, 1};
  const Tensor w = Tensor::from<std::int8_t>({1, 1, 2, 2}, weight), scale = Tensor::full({2}, 0.5);
  const Tensor bias = Tensor::from<float>({2}, std::vector<float>{1, 4});
  const Quantization input{2, 3}, output{4, 20}, added{0.5, 8};

  const PackedInt8Filter plain = pack_int8({w, scale, bias, input}, Device::cpu);
  const Tensor y = conv2d_int8(x, plain, {.conv = {}});
  CHECK(y.dtype() == DType::f32);
  CHECK(y.data<float>()[0] == 1 + 2 * 5 - 4 * 10);
  CHECK(y.data<float>()[1] == 4 - 2 * 1 - 4 * 0.5f);
  CHECK(conv2d_int8(x, plain, {.conv = {.relu = true}}).data<float>()[0] == 0);

  // With residuals of 0.5 (q - 8): 16 and -4; then in steps of 4 from 20: -13 and -4 become 17 and 19, or 20 by ReLU.
  const PackedInt8Filter filter = pack_int8({w, scale, bias, input, &output, &added}, Device::cpu);
  const Tensor residual = bytes({1, 1, 1, 2}, {40, 0});
  CHECK(values(conv2d_int8(x, filter, {{}, &output, &added}, residual)) == std::vector<std::uint8_t>{17, 19});
  CHECK(values(conv2d_int8(x, filter, {{.relu = true}, &output, &added}, residual)) ==
        std::vector<std::uint8_t>{20, 20});
}

TEST_CASE("int8: concatenation brings parts to one scale, sums and poolings") {
  const Tensor a = bytes({1, 1, 1, 2}, {10, 255}), b = bytes({1, 1, 1, 1}, {7});
  const Quantization to{2, 10};
  CHECK(values(concat_int8({a, b}, {{1, 0}, to}, to)) == std::vector<std::uint8_t>{15, 138, 7});
  CHECK(values(add_int8(a, {1, 0}, a, {2, 5}, to, false)) == std::vector<std::uint8_t>{20, 255});
  CHECK(values(add_int8(a, {1, 30}, a, {2, 30}, to, true))[0] == 10);
  CHECK(values(max_pool_int8(bytes({1, 2, 2, 1}, {3, 9, 1, 4}), {})) == std::vector<std::uint8_t>{9});
  CHECK(mean_int8(bytes({1, 2, 2, 1}, {3, 9, 1, 3}), {0.5, 2}).data<float>()[0] == 1);
  const Tensor x = Tensor::from<float>({3}, std::vector<float>{-4, 0, 9});
  CHECK(values(quantize(x, to)) == std::vector<std::uint8_t>{8, 10, 14});
  CHECK(dequantize(quantize(x, to), to).data<float>()[2] == 8);
}

TEST_CASE("int8: what does not fit is refused") {
  const Tensor x = bytes({1, 1, 1, 2}, {4, 1}), floats = Tensor::zeros({1, 1, 1, 2});
  const Tensor w = Tensor::zeros({1, 1, 3, 2}, DType::i8), one = Tensor::full({2}, 1), none = Tensor::zeros({2});
  const PackedInt8Filter filter = pack_int8({w, one, none, {1, 0}}, Device::cpu);
  says(error_message([&] { conv2d_int8(floats, filter, {}); }), "[conv2d_int8] the input is f32 [1, 1, 1, 2]; give u8");
  says(error_message([&] { conv2d_int8(x, filter, {}); }), "the filter of 3 channels does not fit the input");
  const Tensor deep = Tensor::zeros({1, 1, kMaxInt8Depth + 1, 1}, DType::i8), single = Tensor::full({1}, 1);
  says(error_message([&] {
         pack_int8({deep, single, single, {1, 0}}, Device::cpu);
       }),
       "a sum of 65794 products may overflow 32 bits; keep the layer in float (at most 65793)");
  says(error_message([&] {
         pack_int8({w, one, none, {1, 0}}, Device::cuda);
       }),
       "8-bit layers, which run on the CPU alone, not on cuda; give --device cpu");
  says(error_message([&] { quantize(x, {}); }), "[quantize] the input is u8; give f32 or bf16");
  says(error_message([&] { add_int8(x, {}, bytes({2}, {1, 2}), {}, {}, false); }), "the second operand is u8 [2]");
}
