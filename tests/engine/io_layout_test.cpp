#include "engine/io/layout.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/threads.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;

namespace {

/// 0, 1, 2, ...: each element tells where it came from.
Tensor iota(const Shape& shape, DType dtype = DType::f32) {
  Tensor tensor = Tensor::empty(shape, dtype);
  if (dtype == DType::f32)
    std::iota(tensor.data<float>(), tensor.data<float>() + tensor.count(), 0.f);
  else if (dtype == DType::f64)
    std::iota(tensor.data<double>(), tensor.data<double>() + tensor.count(), 0.0);
  else
    std::iota(tensor.data<std::int64_t>(), tensor.data<std::int64_t>() + tensor.count(), 0);
  return tensor;
}

Parameter parameter(FileLayout layout, const Shape& shape, const Shape& image = {}) {
  Parameter result;
  result.value = iota(shape);
  result.layout = layout;
  result.image = image;
  result.name = "layer.weight";
  return result;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// to_file_layout then from_file_layout gives the same bits, and at() agrees with the file at every index.
template <class At>
void check_layout(const Parameter& original, const Shape& expected, const At& at) {
  CHECK(file_shape(original) == expected);
  const Tensor file = to_file_layout(original, original.value);
  REQUIRE(file.shape() == expected);
  std::int64_t index = 0;
  bool agree = true;
  for (std::int64_t a = 0; a < expected[0]; ++a)
    for (std::int64_t b = 0; b < expected[1]; ++b)
      for (std::int64_t c = 0; c < (expected.rank() > 2 ? expected[2] : 1); ++c)
        for (std::int64_t d = 0; d < (expected.rank() > 3 ? expected[3] : 1); ++d)
          agree &= file.data<float>()[index++] == static_cast<float>(at(a, b, c, d));
  CHECK(agree);

  Parameter back = original;
  back.value = Tensor::full(original.value.shape(), -1);
  const void* elements = back.value.raw();
  from_file_layout(file, back);
  CHECK(same_bits(back.value, original.value));
  CHECK(back.value.raw() == elements);

  // In double as well, as for gradients and moments.
  const Tensor wide = to_file_layout(original, original.value.to(DType::f64));
  CHECK(wide.dtype() == DType::f64);
  CHECK(same_bits(wide.to(DType::f32), file));
}

}  // namespace

TEST_CASE("a convolution's weight: memory [r, s, c / groups, k], file [k, c / groups, r, s]") {
  // Odd extents, 1 x 7 and 7 x 1, one channel a group, more than a tile.
  for (const Shape& shape : {Shape{3, 3, 5, 7}, Shape{1, 7, 4, 6}, Shape{7, 1, 4, 6}, Shape{1, 1, 40, 70},
                             Shape{3, 3, 1, 64}, Shape{2, 5, 33, 1}}) {
    const std::int64_t s = shape[1], c = shape[2], k = shape[3];
    check_layout(parameter(FileLayout::conv, shape), {k, c, shape[0], s},
                 [&](auto out, auto in, auto y, auto x) { return ((y * s + x) * c + in) * k + out; });
  }
}

TEST_CASE("a weight that several threads share out") {
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    check_layout(parameter(FileLayout::conv, {3, 3, 130, 260}), {260, 130, 3, 3},
                 [&](auto out, auto in, auto y, auto x) { return ((y * 3 + x) * 130 + in) * 260 + out; });
  }
  set_num_threads(before);
}

TEST_CASE("a linear weight: memory [in, out], file [out, in]") {
  check_layout(parameter(FileLayout::linear, {45, 34}), {34, 45},
               [](auto out, auto in, auto, auto) { return in * 34 + out; });
}

TEST_CASE("a linear weight over an image: memory in order h, w, c, file in order c, h, w") {
  const Shape image{3, 2, 5};
  check_layout(parameter(FileLayout::linear_image, {30, 4}, image), {4, 30}, [](auto out, auto in, auto, auto) {
    const auto c = in / 6, y = in / 2 % 3, x = in % 2;
    return ((y * 2 + x) * 5 + c) * 4 + out;
  });
}

TEST_CASE("other parameters keep their layout: biases, and counters of rank 0") {
  const Parameter bias = parameter(FileLayout::same, {5});
  const Tensor file = to_file_layout(bias, bias.value);
  CHECK(same_bits(file, bias.value));
  CHECK(file.raw() != bias.value.raw());

  Parameter counter;
  counter.value = Tensor::from<std::int64_t>({}, std::vector<std::int64_t>{3});
  CHECK(file_shape(counter) == Shape{});
  CHECK(to_file_layout(counter, counter.value).data<std::int64_t>()[0] == 3);
  from_file_layout(Tensor::from<std::int64_t>({}, std::vector<std::int64_t>{1LL << 40}), counter);
  CHECK(counter.value.data<std::int64_t>()[0] == 1LL << 40);
}

TEST_CASE("a file in another float is converted") {
  Parameter weight = parameter(FileLayout::linear, {2, 3});
  const Tensor file = to_file_layout(weight, weight.value).to(DType::f64);
  weight.value = Tensor::zeros({2, 3});
  from_file_layout(file, weight);
  CHECK(same_bits(weight.value, iota({2, 3})));
  weight.value = Tensor::zeros({2, 3}, DType::f64);
  from_file_layout(file.to(DType::f32), weight);
  CHECK(same_bits(weight.value, iota({2, 3}, DType::f64)));
}

TEST_CASE("another shape or dtype is refused with the name, found and expected") {
  Parameter weight = parameter(FileLayout::conv, {3, 3, 2, 4});
  CHECK(error_message([&] {
          from_file_layout(iota({3, 3, 2, 4}), weight);
        }) ==
        "layer.weight: found shape [3, 3, 2, 4], expected [4, 2, 3, 3]; load it into the architecture, image size and "
        "number of classes that it was saved from");
  CHECK(error_message([&] {
          from_file_layout(iota({4, 2, 3, 3}, DType::i64), weight);
        }) == "layer.weight: found i64, expected f32; save it as that");
  CHECK(error_message([&] {
          to_file_layout(weight, iota({4, 2, 3, 3}));
        }) == "layer.weight: a tensor of shape [4, 2, 3, 3] goes with this parameter; expected [3, 3, 2, 4]");
  CHECK(same_bits(weight.value, iota({3, 3, 2, 4})));
  const Parameter wrong = parameter(FileLayout::linear_image, {30, 4}, {3, 2, 4});
  CHECK(error_message([&] { file_shape(wrong); }) ==
        "layer.weight: a linear weight has shape [30, 4]; expected [h * w * c, out] for image [3, 2, 4]");
}

TEST_CASE("images between [n, c, h, w] and [n, h, w, c]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = iota({2, 3, 35, 4}, dtype);
    const Tensor y = nchw_to_nhwc(x);
    REQUIRE(y.shape() == Shape{2, 35, 4, 3});
    CHECK(same_bits(nhwc_to_nchw(y), x));
    const Tensor single = y.to(DType::f32);
    bool agree = true;
    for (std::int64_t i = 0, index = 0; i < 2; ++i)
      for (std::int64_t p = 0; p < 35 * 4; ++p)
        for (std::int64_t c = 0; c < 3; ++c)
          agree &= single.data<float>()[index++] == static_cast<float>((i * 3 + c) * 35 * 4 + p);
    CHECK(agree);
  }
  CHECK(nchw_to_nhwc(Tensor::empty({0, 3, 2, 2})).shape() == Shape{0, 2, 2, 3});
  CHECK(error_message([] {
          nchw_to_nhwc(iota({2, 3}));
        }) == "images: shape [2, 3]; expected float32 or float64 [n, c, h, w]");
}
