// Maps, copies of channels, shortcuts, sums over rows, and conversions between element types, on any backend.
#pragma once

#include <cmath>
#include <limits>

#include "tests/cases/backend.h"

namespace retort::test {
namespace elementwise_cases {

struct Length {
  std::int64_t n;
  Work work = Work::usual;
};
// One element, primes, around 4, 8, 16 lanes and the piece of a block, and enough for several tasks.
inline constexpr Length kLengths[] = {{1},    {2},    {3},
                                      {7},    {8},    {9},
                                      {15},   {16},   {17, Work::little},
                                      {31},   {33},   {127},
                                      {1003}, {4099}, {70001, Work::much}};

template <class T>
std::vector<T> drawn(std::int64_t n, std::uint64_t seed, double low = -2, double high = 2) {
  return as<T>(uniform(n, seed, low, high));
}

/// Elements behind `offset` others: a view that is not aligned to a vector.
template <class T>
std::vector<T> shifted(std::vector<T> values, std::size_t offset) {
  values.insert(values.begin(), offset, T(0.0f));
  return values;
}

template <class T>
void check_maps(const Backend& backend, const ElementwiseKernels& kernel, std::int64_t n, std::size_t offset) {
  CAPTURE(n);
  CAPTURE(offset);
  const ElementwiseKernels& reference = oracle().elementwise;
  const std::vector<T> a = drawn<T>(n, 1), b = drawn<T>(n, 2);
  const auto a64 = wide(a), b64 = wide(b);
  const Buffer<T> left(backend, shifted(a, offset)), right(backend, shifted(b, offset)), out(backend, n + offset);
  const Buffer<float> factor(backend, std::vector<float>{-1.7f});
  T *const x = left.get() + offset, *const dy = right.get() + offset, *const y = out.get() + offset;
  std::vector<double> expected = blank<double>(n);
  const auto equal = [&] {
    const std::vector<T> all = out.values();
    return holds(backend, std::vector<T>(all.begin() + static_cast<std::ptrdiff_t>(offset), all.end()), expected,
                 exact);
  };
  kernel.add({}, n, x, dy, y);
  reference.add({}, n, a64.data(), b64.data(), expected.data());
  CHECK(equal());
  // A factor that float holds: the product alone is rounded.
  kernel.scale({}, n, double{0.7f}, x, y);
  reference.scale({}, n, double{0.7f}, a64.data(), expected.data());
  CHECK(equal());
  kernel.scale_by({}, n, factor.get(), x, y);
  reference.scale({}, n, double{-1.7f}, a64.data(), expected.data());
  CHECK(equal());
  kernel.relu_forward({}, n, x, y);
  reference.relu_forward({}, n, a64.data(), expected.data());
  CHECK(equal());
  kernel.relu_backward({}, n, x, dy, y);
  reference.relu_backward({}, n, a64.data(), b64.data(), expected.data());
  CHECK(equal());
  kernel.fill({}, n, 0.1, y);
  reference.fill({}, n, 0.1, expected.data());
  CHECK(equal());
}

inline void maps(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for_each_mode(backend, [&](const Mode& mode) {
      for (const Length& length : kLengths)
        if (mode.affords(length.work))
          for (const std::size_t offset : {0u, 1u})
            check_maps<decltype(zero)>(backend, table.elementwise, length.n, offset);
    });
  });
}

inline void in_place(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const std::int64_t n = 1003;
    const ElementwiseKernels& kernel = table.elementwise;
    for_each_mode(backend, [&](const Mode&) {
      const Buffer<T> a(backend, drawn<T>(n, 3)), b(backend, drawn<T>(n, 4)), out(backend, n);
      const auto same = [&](const auto& run, const Buffer<T>& from) {
        run(from.get(), out.get());
        const Buffer<T> in_place(backend, from.values());
        run(in_place.get(), in_place.get());
        CHECK(count_different(in_place.wide(), out.wide()) == 0);
      };
      same([&](T* x, T* y) { kernel.add({}, n, x, b.get(), y); }, a);
      same([&](T* x, T* y) { kernel.scale({}, n, 0.7, x, y); }, a);
      same([&](T* x, T* y) { kernel.relu_forward({}, n, x, y); }, a);
      same([&](T* dy, T* dx) { kernel.relu_backward({}, n, a.get(), dy, dx); }, b);
    });
  });
}

inline void not_finite(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const ElementwiseKernels& kernel = table.elementwise;
    const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
    for_each_mode(backend, [&](const Mode&) {
      std::vector<float> values(19, static_cast<float>(nan));
      values[0] = -1, values[1] = static_cast<float>(infinity), values[2] = -values[1], values[18] = 2;
      const Buffer<T> x(backend, as<T>(values)), ones(backend, std::vector<T>(19, T(1.0f))), y(backend, 19),
          dx(backend, 19);
      kernel.relu_forward({}, 19, x.get(), y.get());
      std::vector<double> found = y.wide();
      CHECK(found[0] == 0);
      CHECK(found[1] == infinity);
      CHECK(found[2] == 0);
      CHECK(std::isnan(found[3]));
      CHECK(std::isnan(found[17]));
      CHECK(found[18] == 2);
      kernel.relu_backward({}, 19, y.get(), ones.get(), dx.get());
      found = dx.wide();
      CHECK(found[0] == 0);
      CHECK(found[17] == 0);  // NaN is not above 0
      CHECK(found[18] == 1);
      kernel.add({}, 19, x.get(), x.get(), y.get());
      found = y.wide();
      CHECK(found[2] == -infinity);
      CHECK(std::isnan(found[17]));
    });
  });
}

/// x takes all upper halves of a float, each with lower halves below, at and above the middle.
inline void conversion(const Backend& backend) {
  if (!backend.f32 || !backend.bf16) return;
  CAPTURE(backend.name);
  const auto bits_of = [](float value) {
    std::uint32_t word = 0;
    std::memcpy(&word, &value, sizeof word);
    return word;
  };
  for_each_mode(backend, [&](const Mode& mode) {
    std::vector<float> x = {1};  // and with it an odd number
    const std::uint32_t stride = mode.affords(Work::much) ? 1 : mode.affords(Work::usual) ? 13 : 251;
    for (std::uint32_t upper = 0; upper < 0x10000; upper += stride)
      for (const std::uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
        const std::uint32_t word = upper << 16 | lower;
        float value = 0;
        std::memcpy(&value, &word, sizeof value);
        x.push_back(value);
      }
    for (const float halfway : {1.00390625f, 1.01171875f}) x.push_back(halfway);  // to the even one: down, and up
    const std::int64_t n = std::ssize(x);
    const Buffer<float> in(backend, x), back(backend, x.size());
    const Buffer<BFloat16> converted(backend, x.size());
    backend.bf16->elementwise.convert({}, n, DType::f32, in.get(), DType::bf16, converted.get());
    backend.f32->elementwise.convert({}, n, DType::bf16, converted.get(), DType::f32, back.get());
    const std::vector<BFloat16> found = converted.values();
    const std::vector<float> again = back.values();
    std::int64_t different = 0, not_exact = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      different += found[i].bits != BFloat16(x[i]).bits;
      not_exact += bits_of(again[i]) != bits_of(float(found[i]));
    }
    CHECK(different == 0);
    CHECK(not_exact == 0);
    CHECK(float(found[x.size() - 2]) == 1.0f);
    CHECK(float(found[x.size() - 1]) == 1.015625f);
  });
}

struct Columns {
  std::int64_t rows, channels;
  Work work = Work::usual;
};
inline constexpr Columns kSums[] = {{1, 1, Work::little},
                                    {1, 17},
                                    {63, 3},
                                    {63, 33, Work::little},
                                    {64, 3},
                                    {64, 16},
                                    {65, 64, Work::little},
                                    {257, 5},
                                    {512, 1},
                                    {3, 1030},
                                    {2000, 37, Work::much},
                                    {700, 65, Work::much},
                                    {5000, 5, Work::little}};

inline void sums(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const ElementwiseKernels& kernel = table.elementwise;
    for (const Columns& shape : kSums) {
      if (shape.work > backend.work) continue;
      const std::int64_t rows = shape.rows, channels = shape.channels;
      CAPTURE(rows);
      CAPTURE(channels);
      const std::vector<T> x = drawn<T>(rows * channels, 5, -1, 3);
      const auto x64 = wide(x), magnitude64 = absolute(x64);
      std::vector<double> expected = blank<double>(channels), magnitude = expected;
      oracle().elementwise.sum_rows({}, rows, channels, x64.data(), expected.data(), nullptr);
      oracle().elementwise.sum_rows({}, rows, channels, magnitude64.data(), magnitude.data(), nullptr);
      const Buffer<T> in(backend, x);
      SameBits same;
      for_each_mode(backend, [&](const Mode& mode) {
        if (!mode.affords(shape.work)) return;
        const Buffer<float> y(backend, expected.size());
        const Buffer<char> workspace(backend, kernel.sum_rows_workspace_bytes(rows, channels));
        kernel.sum_rows({}, rows, channels, in.get(), y.get(), workspace.get());
        const std::vector<float> found = y.values();
        CHECK(worst(found, expected,
                    [&](std::size_t i) { return dot_tolerance(backend.arithmetic.float_rows, magnitude[i]); }) <= 1);
        same.check(mode, {wide(found)});
      });
    }
  });
}

struct Copy {
  ChannelCopy geometry;
  Work work = Work::usual;
};
inline constexpr Copy kCopies[] = {{{1, 1, 1, 0, 1, 0}},
                                   {{5, 3, 7, 4, 5, 1}},
                                   {{5, 3, 7, 2, 9, 4}},
                                   {{6, 16, 32, 8, 24, 8}},
                                   {{3001, 17, 17, 0, 40, 23}, Work::much}};

inline void copies(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const auto& [copy, work] : kCopies) {
      if (work > backend.work) continue;
      const std::vector<T> source = drawn<T>(copy.rows * copy.source_channels, 6),
                           before = drawn<T>(copy.rows * copy.target_channels, 7);
      std::vector<double> expected = wide(before);
      for (std::int64_t row = 0; row < copy.rows; ++row)
        for (std::int64_t c = 0; c < copy.count; ++c)
          expected[static_cast<std::size_t>(row * copy.target_channels + copy.target_begin + c)] =
              source[static_cast<std::size_t>(row * copy.source_channels + copy.source_begin + c)];
      const Buffer<T> from(backend, source);
      for_each_mode(backend, [&, &copy = copy, work = work](const Mode& mode) {
        if (!mode.affords(work)) return;
        const Buffer<T> to(backend, before);
        table.elementwise.copy_channels({}, copy, from.get(), to.get());
        CHECK(count_different(to.wide(), expected) == 0);
      });
    }
  });
}

struct Shortcut {
  ShortcutGeometry geometry;
  Work work = Work::usual;
};
inline constexpr Shortcut kShortcuts[] = {{{1, 1, 1, 1, 1, 2}},
                                          {{2, 8, 8, 16, 32, 2}},
                                          {{3, 7, 5, 3, 8, 2}},
                                          {{2, 5, 4, 3, 6, 2}},
                                          {{1, 4, 4, 2, 7, 1}},
                                          {{2, 5, 9, 4, 4, 1}},
                                          {{2, 32, 32, 16, 64, 2}, Work::much}};

inline void shortcuts(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const auto& [g, work] : kShortcuts) {
      if (work > backend.work) continue;
      const std::vector<T> x = drawn<T>(g.n * g.h * g.w * g.c, 8), dy = drawn<T>(g.n * g.p() * g.q() * g.k, 9);
      std::vector<double> y64 = blank<double>(std::ssize(dy)), dx64 = blank<double>(std::ssize(x));
      oracle().elementwise.shortcut_forward({}, g, wide(x).data(), y64.data());
      oracle().elementwise.shortcut_backward({}, g, wide(dy).data(), dx64.data());
      const Buffer<T> in(backend, x), gradient(backend, dy);
      for_each_mode(backend, [&, &g = g, work = work](const Mode& mode) {
        if (!mode.affords(work)) return;
        const Buffer<T> y(backend, dy.size()), dx(backend, x.size());
        table.elementwise.shortcut_forward({}, g, in.get(), y.get());
        table.elementwise.shortcut_backward({}, g, gradient.get(), dx.get());
        CHECK(count_different(y.wide(), y64) == 0);
        CHECK(count_different(dx.wide(), dx64) == 0);
      });
    }
  });
}

}  // namespace elementwise_cases

inline const std::vector<Case> kElementwiseCases = {
    {"maps are rounded once, aligned or not", elementwise_cases::maps},
    {"in place gives what out of place gives", elementwise_cases::in_place},
    {"NaN and infinity stay what they are forward, and NaN stops backward", elementwise_cases::not_finite},
    {"conversion rounds to nearest even for every kind of number, and back is exact", elementwise_cases::conversion},
    {"sums over rows", elementwise_cases::sums},
    {"copies of channels write their slice and nothing else", elementwise_cases::copies},
    {"shortcuts move the right elements", elementwise_cases::shortcuts},
};

}  // namespace retort::test
