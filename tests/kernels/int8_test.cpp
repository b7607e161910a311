#include "kernels/int8.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"

namespace retort {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Shape {
  const char* name;
  Conv2dGeometry g;
};

const Shape kShapes[] = {
    {"1 x 1", {.n = 2, .h = 5, .w = 7, .c = 64, .k = 40}},
    {"1 x 1 of a depth that is no multiple of four", {.n = 1, .h = 3, .w = 3, .c = 29, .k = 33}},
    {"1 x 1, stride 2", {.n = 2, .h = 9, .w = 8, .c = 32, .k = 64, .stride_h = 2, .stride_w = 2}},
    {"3 x 3", {.n = 2, .h = 9, .w = 11, .c = 16, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3 x 3 of few channels", {.n = 1, .h = 6, .w = 6, .c = 3, .k = 5, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3 x 3, stride 2",
     {.n = 2, .h = 9, .w = 8, .c = 20, .k = 17, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
    {"7 x 7, stride 2: the stem",
     {.n = 1, .h = 30, .w = 31, .c = 3, .k = 64, .r = 7, .s = 7, .stride_h = 2, .stride_w = 2, .pad_h = 3, .pad_w = 3}},
    {"1 x 7", {.n = 1, .h = 6, .w = 9, .c = 24, .k = 24, .r = 1, .s = 7, .pad_w = 3}},
    {"7 x 1", {.n = 1, .h = 9, .w = 6, .c = 24, .k = 24, .r = 7, .s = 1, .pad_h = 3}},
    {"dilated",
     {.n = 1,
      .h = 9,
      .w = 9,
      .c = 8,
      .k = 8,
      .r = 3,
      .s = 3,
      .pad_h = 2,
      .pad_w = 2,
      .dilation_h = 2,
      .dilation_w = 2}},
    {"wider than the image", {.n = 1, .h = 2, .w = 2, .c = 8, .k = 9, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"more padding than filter", {.n = 1, .h = 3, .w = 3, .c = 4, .k = 4, .r = 1, .s = 1, .pad_h = 2, .pad_w = 2}},
    {"a linear layer", {.n = 5, .h = 1, .w = 1, .c = 700, .k = 10}},
    {"a deep sum", {.n = 2, .h = 1, .w = 1, .c = 30000, .k = 3}},
};

struct Filter {
  explicit Filter(const Conv2dGeometry& g, std::int32_t zero)
      : weight(test::integers<std::int8_t>(g.r * g.s * g.c * g.k, 2, -127, 127)),
        scale(test::uniform(g.k, 3, 1e-4, 3e-3)),
        bias(test::uniform(g.k, 4, -20, 150)),
        whole{weight.data(), scale.data(), bias.data(), zero} {}
  std::vector<std::int8_t> weight;
  std::vector<float> scale, bias;
  Int8Filter whole;
};

std::size_t outputs(const Conv2dGeometry& g) { return static_cast<std::size_t>(g.n * g.p() * g.q() * g.k); }

/// What a device's convolution gives, as elements of T.
template <class T>
std::vector<T> convolve(const Int8Kernels& kernels, const Conv2dGeometry& g, const Filter& filter, const Bytes& x,
                        const Int8Epilogue& epilogue) {
  constexpr std::size_t kAlignment = 64;
  std::vector<std::byte> memory(kernels.packed_bytes(g) + kAlignment),
      workspace(kernels.workspace_bytes(g) + kAlignment);
  const auto aligned = [](std::vector<std::byte>& bytes) {
    void* start = bytes.data();
    std::size_t space = bytes.size();
    return std::align(kAlignment, 1, start, space);
  };
  kernels.pack(g, filter.whole, aligned(memory));
  std::vector<T> y(outputs(g), T(77));
  kernels.conv({}, g, filter.whole.zero, x.data(), aligned(memory), epilogue, y.data(), aligned(workspace));
  return y;
}

/// Without fused products and sums a value may round to the neighbour of what it rounds to with them.
int largest_difference(const Bytes& a, const Bytes& b) {
  int most = 0;
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(int{a[i]} - int{b[i]}));
  return most;
}

int permitted() { return simd_level() == SimdLevel::plain ? 1 : 0; }

}  // namespace

TEST_CASE("int8 convolution: sums agree bit for bit") {
  const Int8Kernels& oracle = int8_kernels_for(Device::reference);
  for (const auto& [name, g] : kShapes)
    for (const std::int32_t zero : {0, 117, 255}) {
      const std::string shape = name;
      CAPTURE(shape);
      CAPTURE(zero);
      const Filter filter(g, zero);
      const Bytes x = test::integers<std::uint8_t>(g.n * g.h * g.w * g.c, 1, 0, 255);
      const auto expected = convolve<std::int32_t>(oracle, g, filter, x, {.y = DType::i32});
      test::for_each_cpu_setting([&] {
        CHECK(convolve<std::int32_t>(int8_kernels_for(Device::cpu), g, filter, x, {.y = DType::i32}) == expected);
      });
    }
}

TEST_CASE("int8 convolution: extreme operands do not saturate") {
  const Conv2dGeometry g = {.n = 7, .h = 1, .w = 1, .c = kMaxInt8Depth, .k = 2};
  Filter filter(g, 0);
  for (std::size_t i = 0; i < filter.weight.size(); ++i) filter.weight[i] = i % 2 == 0 ? 127 : -127;
  const Bytes x(static_cast<std::size_t>(g.n * g.c), 255);
  test::for_each_cpu_setting([&] {
    const auto y = convolve<std::int32_t>(int8_kernels_for(Device::cpu), g, filter, x, {.y = DType::i32});
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == (i % 2 == 0 ? 1 : -1) * kMaxInt8Depth * 255 * 127);
  });
}

TEST_CASE("int8 convolution: epilogues") {
  const Int8Kernels& oracle = int8_kernels_for(Device::reference);
  for (const auto& [name, g] : kShapes) {
    const std::string shape = name;
    CAPTURE(shape);
    const Filter filter(g, 9);
    const Bytes x = test::integers<std::uint8_t>(g.n * g.h * g.w * g.c, 1, 0, 255);
    const Bytes residual = test::integers<std::uint8_t>(static_cast<std::int64_t>(outputs(g)), 5, 0, 255);
    for (const std::uint8_t* added : {static_cast<const std::uint8_t*>(nullptr), residual.data()})
      for (const float low : {0.0f, 31.0f}) {
        CAPTURE(low);
        const Int8Epilogue bytes = {.residual = added, .residual_scale = 0.37f, .low = low};
        Int8Epilogue floats = bytes;
        floats.high = INFINITY;
        floats.y = DType::f32;
        const Bytes expected = convolve<std::uint8_t>(oracle, g, filter, x, bytes);
        const auto real = convolve<float>(oracle, g, filter, x, floats);
        test::for_each_cpu_setting([&] {
          const Int8Kernels& kernels = int8_kernels_for(Device::cpu);
          CHECK(largest_difference(convolve<std::uint8_t>(kernels, g, filter, x, bytes), expected) <= permitted());
          const auto found = convolve<float>(kernels, g, filter, x, floats);
          // Fused, the sums are the same; else three roundings of terms up to 3e-3 * 255 * 127 * depth.
          const double term = 3e-3 * 255 * 127 * static_cast<double>(g.r * g.s * g.c);
          for (std::size_t i = 0; i < found.size(); ++i)
            REQUIRE(std::abs(found[i] - real[i]) <= permitted() * 3 * 0x1p-24 * term);
        });
      }
  }
}

TEST_CASE("int8: by hand") {
  for (const Device device : {Device::reference, Device::cpu}) {
    const Int8Kernels& kernels = int8_kernels_for(device);
    // Ties go to the even neighbour; what is out of range to its end, and NaN to 0.
    const std::vector<float> x = {0, 0.25f, 0.75f, -1, 200, -200, NAN, INFINITY, -INFINITY};
    Bytes q(x.size());
    kernels.quantize({}, static_cast<std::int64_t>(x.size()), {0.5f, 10}, x.data(), q.data());
    CHECK(q == Bytes{10, 10, 12, 8, 255, 0, 0, 255, 0});
    std::vector<float> back(3);
    kernels.dequantize({}, 3, {0.5f, 10}, q.data() + 2, back.data());
    CHECK(back == std::vector<float>{1, -1, 122.5f});

    const Bytes a = {0, 100, 255}, b = {10, 20, 30};
    Bytes sum(3);
    kernels.add({}, 3, a.data(), 0.5f, b.data(), 2, -15, 7, sum.data());
    CHECK(sum == Bytes{7, 75, 172});  // 5, 75, 172.5

    Bytes table(256, 0), joined(8, 9);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(255 - i);
    kernels.lookup({}, 2, 2, table.data(), Bytes{0, 1, 2, 3}.data(), 4, 1, joined.data());
    CHECK(joined == Bytes{9, 255, 254, 9, 9, 253, 252, 9});

    std::vector<float> means(2);
    kernels.mean({}, 1, 3, 2, {0.5f, 2}, Bytes{1, 10, 2, 20, 9, 30}.data(), means.data());
    CHECK(means == std::vector<float>{1, 9});

    // Columns of 12.7 and of nothing: steps of 0.1, ties to even.
    std::vector<float> weight = {12.7f, 0, 0.25f, 0, -0.26f, 0}, rounded(6, 7);
    kernels.round_weight({}, 3, 2, weight.data(), rounded.data());
    const float step = 12.7f / 127;
    CHECK(rounded == std::vector<float>{127 * step, 0, 2 * step, 0, -3 * step, 0});

    Bytes most(4);
    const Pool2dGeometry g = {.h = 3, .w = 3, .c = 1, .pad_h = 1, .pad_w = 1};
    kernels.max_pool({}, g, Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9}.data(), most.data());
    CHECK(most == Bytes{1, 3, 7, 9});
  }
}

TEST_CASE("int8: weights are rounded as the oracle has them, bit for bit") {
  for (const auto& [rows, out] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {9, 5}, {27, 64}, {40, 65}, {576, 200}}) {
    CAPTURE(out);
    const std::vector<float> weight = test::uniform(rows * out, 3, -2, 1);
    std::vector<float> expected(weight.size()), found(weight.size());
    int8_kernels_for(Device::reference).round_weight({}, rows, out, weight.data(), expected.data());
    test::for_each_cpu_setting([&] {
      int8_kernels_for(Device::cpu).round_weight({}, rows, out, weight.data(), found.data());
      CHECK(found == expected);
    });
  }
}

TEST_CASE("int8: elements and windows as the oracle has them") {
  const Int8Kernels& oracle = int8_kernels_for(Device::reference);
  for (const std::int64_t n : {1, 7, 64, 1001, 50000}) {
    CAPTURE(n);
    const Bytes a = test::integers<std::uint8_t>(n, 1, 0, 255), b = test::integers<std::uint8_t>(n, 2, 0, 255);
    const std::vector<float> x = test::uniform(n, 3, -3, 30);
    const auto size = static_cast<std::size_t>(n);
    Bytes quantized(size), sum(size);
    std::vector<float> real(size);
    oracle.quantize({}, n, {0.1f, 25}, x.data(), quantized.data());
    oracle.dequantize({}, n, {0.1f, 25}, a.data(), real.data());
    oracle.add({}, n, a.data(), 0.7f, b.data(), 0.31f, -11.5f, 3, sum.data());
    test::for_each_cpu_setting([&] {
      const Int8Kernels& kernels = int8_kernels_for(Device::cpu);
      Bytes y(size);
      std::vector<float> floats(size);
      kernels.quantize({}, n, {0.1f, 25}, x.data(), y.data());
      CHECK(largest_difference(y, quantized) <= permitted());
      kernels.add({}, n, a.data(), 0.7f, b.data(), 0.31f, -11.5f, 3, y.data());
      CHECK(largest_difference(y, sum) <= permitted());
      kernels.dequantize({}, n, {0.1f, 25}, a.data(), floats.data());
      CHECK(floats == real);
    });
  }
  for (const std::int64_t c : {1, 33, 64, 300}) {
    CAPTURE(c);
    const Pool2dGeometry g = {.n = 2,
                              .h = 9,
                              .w = 7,
                              .c = c,
                              .kernel_h = 3,
                              .kernel_w = 3,
                              .stride_h = 2,
                              .stride_w = 2,
                              .pad_h = 1,
                              .pad_w = 1};
    const Bytes x = test::integers<std::uint8_t>(g.n * g.h * g.w * c, 1, 0, 255);
    Bytes expected(static_cast<std::size_t>(g.n * g.p() * g.q() * c));
    std::vector<float> means(static_cast<std::size_t>(g.n * c));
    oracle.max_pool({}, g, x.data(), expected.data());
    oracle.mean({}, g.n, g.h * g.w, c, {0.1f, 25}, x.data(), means.data());
    test::for_each_cpu_setting([&] {
      const Int8Kernels& kernels = int8_kernels_for(Device::cpu);
      Bytes y(expected.size());
      std::vector<float> found(means.size());
      kernels.max_pool({}, g, x.data(), y.data());
      CHECK(y == expected);
      kernels.mean({}, g.n, g.h * g.w, c, {0.1f, 25}, x.data(), found.data());
      CHECK(found == means);
    });
  }
}

TEST_CASE("int8: other devices have none") {
  CHECK_THROWS_WITH(int8_kernels_for(Device::cuda), doctest::Contains("no 8-bit kernels; compute on the CPU"));
}

}  // namespace retort
