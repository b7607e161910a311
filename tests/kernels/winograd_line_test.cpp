// Convolutions of one row or column by Winograd's algorithm against the direct sum in double. The tolerance is the
// algorithm's running error bound, as in winograd_test.cpp: every intermediate is a sum of products of the transforms'
// coefficients, so its rounding errors are at most (number of roundings) * epsilon / 2 times the same expression with
// all terms taken absolutely. In bf16 each transform is rounded once more.
#include "kernels/cpu/conv/winograd_line.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/reference/table.h"
#include "tests/case.h"
#include "tests/element_types.h"
#include "tests/kernels/conv_epilogue.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using Buffer = std::vector<double>;
using Matrix = std::vector<Buffer>;

Buffer times(const Matrix& m, const Buffer& v) {
  Buffer result(m.size());
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < v.size(); ++j) result[i] += m[i][j] * v[j];
  return result;
}

Matrix transposed(const Matrix& m) {
  Matrix result(m[0].size(), Buffer(m.size()));
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < m[i].size(); ++j) result[j][i] = m[i][j];
  return result;
}

/// F(outputs, taps) from the definition of Toom's and Cook's matrices (kernels/cpu/conv/winograd_line_plan.h), all
/// coefficients taken absolutely.
struct AbsoluteScheme {
  AbsoluteScheme(std::size_t outputs_, const std::vector<double>& points)
      : outputs(outputs_), inputs(points.size() + 1), taps(inputs + 1 - outputs), output(outputs) {
    for (std::size_t i = 0; i < inputs; ++i) {
      const bool infinite = i == points.size();
      // The product of x - q over the other points: its coefficients, lowest first, and its value at the point.
      Buffer polynomial = {1};
      double value = 1;
      for (std::size_t j = 0; j < points.size(); ++j) {
        if (j == i) continue;
        polynomial.insert(polynomial.begin(), 0);
        for (std::size_t d = 0; d + 1 < polynomial.size(); ++d) polynomial[d] -= points[j] * polynomial[d + 1];
        if (!infinite) value *= points[i] - points[j];
      }
      polynomial.resize(inputs);
      input.push_back(test::absolute(polynomial));
      const auto power = [&](std::size_t exponent, std::size_t leading) {
        return infinite ? static_cast<double>(exponent == leading) : std::pow(points[i], static_cast<int>(exponent));
      };
      filter.emplace_back();
      for (std::size_t r = 0; r < taps; ++r) filter[i].push_back(std::fabs(power(r, taps - 1) / value));
      for (std::size_t j = 0; j < outputs; ++j) output[j].push_back(std::fabs(power(j, outputs - 1)));
    }
  }

  std::size_t outputs, inputs, taps;
  Matrix input;   // |B^T| [inputs, inputs]
  Matrix filter;  // |G| [inputs, taps]
  Matrix output;  // |A^T| [outputs, inputs]
};

template <class T>
const AbsoluteScheme& scheme_for(std::size_t taps) {
  static const AbsoluteScheme f43(4, {0, 5.0 / 8, -5.0 / 8, 3.0 / 2, -3.0 / 2});
  static const AbsoluteScheme f64(6, {1.0 / 4, -1.0 / 4, 5.0 / 8, -5.0 / 8, 9.0 / 8, -9.0 / 8, 9.0 / 4, -9.0 / 4});
  static const AbsoluteScheme f54(5, {0, 1.0 / 2, -1.0 / 2, 1, -1, 2, -2});
  return taps <= 3 ? f43 : std::is_same_v<T, float> ? f64 : f54;
}

/// The lines along the filter's one axis of a tensor [n, h, w, channels].
struct Lines {
  Lines(const Conv2dGeometry& g, std::int64_t h, std::int64_t w, std::int64_t channels_)
      : along_w(g.r == 1), count(g.n * (along_w ? h : w)), length(along_w ? w : h), width(w), channels(channels_) {}

  std::size_t at(std::int64_t line, std::int64_t place, std::int64_t channel) const {
    const std::int64_t pixel = along_w ? line * length + place : (line / width * length + place) * width + line % width;
    return static_cast<std::size_t>(pixel * channels + channel);
  }
  std::size_t size() const { return static_cast<std::size_t>(count * length * channels); }

  /// Absolute values of `pixels` pixels of a line from `first` on, 0 outside.
  Buffer window(const Buffer& values, std::int64_t line, std::int64_t first, std::size_t pixels,
                std::int64_t channel) const {
    Buffer result(pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
      const std::int64_t place = first + static_cast<std::int64_t>(i);
      if (place >= 0 && place < length) result[i] = std::fabs(values[at(line, place, channel)]);
    }
    return result;
  }

  bool along_w;
  std::int64_t count, length, width, channels;
};

/// A correlation of lines: of `taps` taps, `pad` zeros before each line.
struct LineConvolution {
  Lines in, out;
  std::int64_t taps, pad;
  const AbsoluteScheme& scheme;

  std::int64_t block_taps() const { return static_cast<std::int64_t>(scheme.taps); }
  std::int64_t tap_blocks() const { return (taps + block_taps() - 1) / block_taps(); }
  std::int64_t step() const { return static_cast<std::int64_t>(scheme.outputs); }
  std::int64_t tiles() const { return out.count * ((out.length + step() - 1) / step()); }

  /// Runs body(line, first output) for every tile.
  void for_tiles(const std::function<void(std::int64_t, std::int64_t)>& body) const {
    for (std::int64_t line = 0; line < out.count; ++line)
      for (std::int64_t first = 0; first < out.length; first += step()) body(line, first);
  }

  /// A tile's transformed inputs, one for each block of taps and channel.
  std::vector<Buffer> inputs(const Buffer& x, std::int64_t line, std::int64_t first) const {
    std::vector<Buffer> result;
    for (std::int64_t block = 0; block < tap_blocks(); ++block)
      for (std::int64_t c = 0; c < in.channels; ++c)
        result.push_back(times(scheme.input, in.window(x, line, first + block * block_taps() - pad, scheme.inputs, c)));
    return result;
  }
};

void add_product(const Buffer& a, const Buffer& b, Buffer& sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += a[i] * b[i];
}

/// What fprop's errors grow with, of the shape of y; `tap(r, c, k)` gives the filter.
template <class Tap>
Buffer product_magnitude(const LineConvolution& l, const Buffer& x, const Tap& tap) {
  const AbsoluteScheme& scheme = l.scheme;
  const auto channels = static_cast<std::size_t>(l.out.channels);
  std::vector<Buffer> filters;
  for (std::int64_t block = 0; block < l.tap_blocks(); ++block)
    for (std::int64_t c = 0; c < l.in.channels; ++c)
      for (std::int64_t k = 0; k < l.out.channels; ++k) {
        Buffer taps(scheme.taps);
        for (std::int64_t r = 0; r < l.block_taps() && block * l.block_taps() + r < l.taps; ++r)
          taps[static_cast<std::size_t>(r)] = std::fabs(tap(block * l.block_taps() + r, c, k));
        filters.push_back(times(scheme.filter, taps));
      }
  Buffer result(l.out.size());
  l.for_tiles([&](std::int64_t line, std::int64_t first) {
    const std::vector<Buffer> inputs = l.inputs(x, line, first);
    for (std::size_t k = 0; k < channels; ++k) {
      Buffer product(scheme.inputs);
      for (std::size_t depth = 0; depth < inputs.size(); ++depth)
        add_product(inputs[depth], filters[depth * channels + k], product);
      const Buffer output = times(scheme.output, product);
      for (std::int64_t i = 0; i < l.step() && first + i < l.out.length; ++i)
        result[l.out.at(line, first + i, static_cast<std::int64_t>(k))] = output[static_cast<std::size_t>(i)];
    }
  });
  return result;
}

/// What wgrad's errors grow with, [taps, c, k].
Buffer gradient_magnitude(const LineConvolution& l, const Buffer& x, const Buffer& dy) {
  const AbsoluteScheme& scheme = l.scheme;
  const Matrix to_gradient = transposed(scheme.output), to_taps = transposed(scheme.filter);
  const auto channels = static_cast<std::size_t>(l.out.channels);
  std::vector<Buffer> sums(static_cast<std::size_t>(l.tap_blocks() * l.in.channels) * channels, Buffer(scheme.inputs));
  l.for_tiles([&](std::int64_t line, std::int64_t first) {
    const std::vector<Buffer> inputs = l.inputs(x, line, first);
    for (std::size_t k = 0; k < channels; ++k) {
      const Buffer gradient =
          times(to_gradient, l.out.window(dy, line, first, scheme.outputs, static_cast<std::int64_t>(k)));
      for (std::size_t row = 0; row < inputs.size(); ++row)
        add_product(inputs[row], gradient, sums[row * channels + k]);
    }
  });
  const std::size_t pairs = static_cast<std::size_t>(l.in.channels) * channels;
  Buffer result(static_cast<std::size_t>(l.taps) * pairs);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const Buffer taps = times(to_taps, sums[i]);
    for (std::size_t r = 0; r < scheme.taps; ++r) {
      const std::size_t at = (i / pairs * scheme.taps + r) * pairs + i % pairs;
      if (at < result.size()) result[at] = taps[r];
    }
  }
  return result;
}

/// Roundings along the longest path: three transforms, which sum at most `inputs`, `inputs` and `outputs` products, and
/// their coefficients' own; then the sum over `depth`.
/// The result's own rounding is not in it.
template <class T>
double allowed(const AbsoluteScheme& scheme, std::int64_t depth, double magnitude) {
  const double rounded = std::is_same_v<T, float> ? 0 : 2.01 * test::epsilon_of<T> / 2;
  return test::dot_tolerance(depth + static_cast<std::int64_t>(2 * scheme.inputs + scheme.outputs) + 3, magnitude) +
         rounded * magnitude;
}

/// A filter of one row and `taps` columns, padded along the rows.
Conv2dGeometry row(std::int64_t taps, std::int64_t pad, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                   std::int64_t k) {
  return {.n = n, .h = h, .w = w, .c = c, .k = k, .r = 1, .s = taps, .pad_w = pad};
}
/// A filter of one column and `taps` rows, padded along the columns.
Conv2dGeometry column(std::int64_t taps, std::int64_t pad, std::int64_t n, std::int64_t h, std::int64_t w,
                      std::int64_t c, std::int64_t k) {
  return {.n = n, .h = h, .w = w, .c = c, .k = k, .r = taps, .s = 1, .pad_h = pad};
}

struct Operands {
  /// As T holds them.
  template <class T = float>
  explicit Operands(const Conv2dGeometry& g, T = {})
      : x(test::held<T>(test::uniform(g.n * g.h * g.w * g.c, 1))),
        w(test::held<T>(test::uniform(g.r * g.s * g.c * g.k, 2))),
        dy(test::held<T>(test::uniform(g.n * g.p() * g.q() * g.k, 3))) {}

  const std::vector<float>& first(ConvPass pass) const { return pass == ConvPass::dgrad ? dy : x; }
  const std::vector<float>& second(ConvPass pass) const { return pass == ConvPass::wgrad ? dy : w; }
  std::size_t result_size(ConvPass pass) const {
    return (pass == ConvPass::fprop ? dy : pass == ConvPass::dgrad ? x : w).size();
  }

  std::vector<float> x, w, dy;
};

constexpr ConvPass kPasses[] = {ConvPass::fprop, ConvPass::dgrad, ConvPass::wgrad};

/// A pass as T; the filter's gradient is float.
template <class T = float>
std::vector<float> on_cpu(ConvPass pass, const Conv2dGeometry& g, const Operands& o,
                          const ConvEpilogue& epilogue = {}) {
  const std::vector<T> a = test::as<T>(o.first(pass)), b = test::as<T>(o.second(pass));
  std::vector<T> out = test::blank<T>(o.result_size(pass));
  std::vector<float> gradient = test::blank<float>(o.result_size(pass));
  const Conv2dKernels& conv2d = kernels_for(Device::cpu, test::dtype_of<T>).conv2d;
  std::vector<char> workspace = test::unwritten_workspace(conv2d.workspace_bytes(pass, g));
  switch (pass) {
    case ConvPass::fprop: conv2d.fprop({}, g, a.data(), b.data(), epilogue, out.data(), workspace.data()); break;
    case ConvPass::dgrad: conv2d.dgrad({}, g, a.data(), b.data(), out.data(), workspace.data()); break;
    case ConvPass::wgrad: conv2d.wgrad({}, g, a.data(), b.data(), gradient.data(), workspace.data()); return gradient;
  }
  return std::vector<float>(out.begin(), out.end());
}

/// The same by name, whatever conv2d would take.
template <class T = float>
std::vector<float> by_lines(ConvPass pass, const Conv2dGeometry& g, const Operands& o) {
  const std::vector<T> a = test::as<T>(o.first(pass)), b = test::as<T>(o.second(pass));
  std::vector<T> out = test::blank<T>(o.result_size(pass));
  std::vector<float> gradient = test::blank<float>(o.result_size(pass));
  const cpu::ConvAlgorithm<T>& lines = cpu::conv_algorithms<T>()[1];
  std::vector<char> workspace = test::unwritten_workspace(lines.workspace_bytes(pass, g));
  switch (pass) {
    case ConvPass::fprop: lines.fprop(g, a.data(), b.data(), {}, out.data(), workspace.data()); break;
    case ConvPass::dgrad: lines.dgrad(g, a.data(), b.data(), out.data(), workspace.data()); break;
    case ConvPass::wgrad: lines.wgrad(g, a.data(), b.data(), gradient.data(), workspace.data()); return gradient;
  }
  return std::vector<float>(out.begin(), out.end());
}

template <class T>
std::vector<T> on_reference(ConvPass pass, const Conv2dGeometry& g, const Operands& o) {
  const std::vector<T> a(o.first(pass).begin(), o.first(pass).end()), b(o.second(pass).begin(), o.second(pass).end());
  std::vector<T> out(o.result_size(pass));
  switch (pass) {
    case ConvPass::fprop: reference::table<T>().conv2d.fprop({}, g, a.data(), b.data(), {}, out.data(), nullptr); break;
    case ConvPass::dgrad: reference::table<T>().conv2d.dgrad({}, g, a.data(), b.data(), out.data(), nullptr); break;
    case ConvPass::wgrad: reference::table<T>().conv2d.wgrad({}, g, a.data(), b.data(), out.data(), nullptr); break;
  }
  return out;
}

/// Checks all passes of a convolution of T in every setting that `for_settings` runs its argument in.
template <class T, class ForSettings>
void check_bounds(const Conv2dGeometry& g, const ForSettings& for_settings) {
  CAPTURE(g.h);
  CAPTURE(g.w);
  CAPTURE(g.c);
  CAPTURE(g.k);
  CAPTURE(g.r);
  CAPTURE(g.s);
  CAPTURE(g.pad_h);
  CAPTURE(g.pad_w);
  const std::int64_t taps = g.r * g.s, pad = g.pad_h + g.pad_w;
  const Operands o(g, T{});
  const Buffer x = test::wide(o.x), w = test::wide(o.w), dy = test::wide(o.dy);
  const Lines of_x(g, g.h, g.w, g.c), of_y(g, g.p(), g.q(), g.k);
  const AbsoluteScheme& scheme = scheme_for<T>(static_cast<std::size_t>(taps));
  const LineConvolution forward = {of_x, of_y, taps, pad, scheme},
                        backward = {of_y, of_x, taps, taps - 1 - pad, scheme};
  const auto at = [&](std::int64_t tap, std::int64_t c, std::int64_t k) {
    return w[static_cast<std::size_t>((tap * g.c + c) * g.k + k)];
  };
  const Buffer magnitudes[] = {
      product_magnitude(forward, x, at),
      product_magnitude(backward, dy,
                        [&](std::int64_t tap, std::int64_t k, std::int64_t c) { return at(taps - 1 - tap, c, k); }),
      gradient_magnitude(forward, x, dy)};
  const std::int64_t depths[] = {forward.tap_blocks() * g.c, forward.tap_blocks() * g.k, forward.tiles()};
  const Buffer expected[] = {on_reference<double>(ConvPass::fprop, g, o), on_reference<double>(ConvPass::dgrad, g, o),
                             on_reference<double>(ConvPass::wgrad, g, o)};
  for_settings([&] {
    for (const ConvPass pass : kPasses) {
      CAPTURE(static_cast<int>(pass));
      const auto i = static_cast<std::size_t>(pass);
      const double rounding = std::is_same_v<T, float> || pass == ConvPass::wgrad ? 0 : test::epsilon_of<T> / 2;
      CHECK(test::worst(by_lines<T>(pass, g, o), expected[i], [&](std::size_t element) {
              return allowed<T>(scheme, depths[i], magnitudes[i][element]) +
                     rounding * 1.01 * std::fabs(expected[i][element]);
            }) <= 1);
    }
  });
}

// Whole and cut lines; channels around a vector, a sliver, a group of columns and a block of depth; one image and many.
const Conv2dGeometry kShapes[] = {
    row(7, 3, 1, 3, 12, 32, 32),     column(7, 3, 2, 10, 5, 33, 35), row(7, 0, 1, 4, 14, 48, 70),
    column(7, 6, 1, 8, 6, 40, 130),  row(7, 3, 1, 2, 8, 300, 34),    column(7, 3, 1, 9, 2, 34, 300),
    row(3, 1, 3, 3, 8, 300, 34),     column(3, 1, 1, 7, 4, 34, 300), row(3, 0, 1, 5, 10, 40, 130),
    column(3, 2, 2, 8, 3, 35, 33),   row(5, 2, 1, 3, 17, 33, 70),    column(4, 1, 2, 11, 3, 70, 33),
    column(8, 3, 1, 12, 5, 130, 35), row(7, 3, 5, 9, 13, 33, 35),    row(7, 3, 1, 2, 10, 545, 34),
    column(7, 3, 1, 10, 2, 34, 545), column(3, 1, 5, 14, 9, 35, 70)};

}  // namespace

TEST_CASE("winograd lines: all passes are within the algorithm's error bound of the direct sum in double") {
  test::for_each_element_type([](auto zero) {
    for (const Conv2dGeometry& g : kShapes)
      check_bounds<decltype(zero)>(g, [](const auto& check) { test::for_each_cpu_setting(check); });
  });
}

TEST_CASE("winograd lines: every number of taps and every padding, along rows and columns") {
  for (std::int64_t taps = 3; taps <= 8; ++taps)
    for (std::int64_t pad = 0; pad < taps; ++pad)
      for (const Conv2dGeometry& g : {row(taps, pad, 1, 2, 50, 32, 33), column(taps, pad, 1, 50, 2, 33, 32)})
        test::for_each_element_type(
            [&](auto zero) { check_bounds<decltype(zero)>(g, [](const auto& check) { check(); }); });
}

TEST_CASE("winograd lines: the epilogue comes after the sum") {
  for (const Conv2dGeometry& g : {row(7, 3, 2, 3, 9, 32, 70), column(3, 1, 2, 7, 4, 32, 35)})
    test::for_each_element_type([&](auto zero) {
      using T = decltype(zero);
      const Operands o(g, zero);
      test::for_each_cpu_setting([&] {
        test::check_epilogue<T>(g.k, o.dy, [&](bool blank, const ConvEpilogue& epilogue) {
          Operands given = o;
          if (blank) std::fill(given.x.begin(), given.x.end(), 0.0f);
          return on_cpu<T>(ConvPass::fprop, g, given, epilogue);
        });
      });
    });
}

namespace {

/// In T: a line's results alone and among others, with every number of threads.
template <class T>
void check_bits() {
  // Many lines, and some of them alone: a single row, the columns of an image.
  struct Batch {
    Conv2dGeometry all, part;
  };
  for (const Batch& batch : {Batch{row(7, 3, 9, 6, 13, 40, 70), row(7, 3, 1, 1, 13, 40, 70)},
                             Batch{column(3, 1, 9, 15, 6, 40, 70), column(3, 1, 1, 15, 6, 40, 70)}}) {
    const auto &all = batch.all, &part = batch.part;
    const Operands o(all, T{});
    const std::int64_t parts = all.n * all.h * all.w / (part.n * part.h * part.w);
    const auto cut = [&](const std::vector<float>& values, std::int64_t index) {
      const std::int64_t size = static_cast<std::int64_t>(values.size()) / parts;
      return std::vector<float>(values.begin() + index * size, values.begin() + (index + 1) * size);
    };
    std::vector<float> of_one_thread;
    test::for_each_cpu_setting([&] {
      std::vector<float> results;
      for (const ConvPass pass : kPasses) {
        CHECK(cpu::use_winograd_line<T>(pass, all));
        const std::vector<float> result = on_cpu<T>(pass, all, o);
        results.insert(results.end(), result.begin(), result.end());
        if (pass == ConvPass::wgrad) continue;
        for (const std::int64_t index : {std::int64_t{0}, parts / 2, parts - 1}) {
          Operands alone = o;
          alone.x = cut(o.x, index);
          alone.dy = cut(o.dy, index);
          CHECK(cut(result, index) == on_cpu<T>(pass, part, alone));
        }
      }
      if (num_threads() == 1) of_one_thread = results;
      CHECK(results == of_one_thread);
    });
  }
}

}  // namespace

TEST_CASE("winograd lines: neither the batch nor the threads change a line's bits") {
  test::for_each_element_type([](auto zero) { check_bits<decltype(zero)>(); });
}

TEST_CASE("winograd lines: the interpolation points are good ones") {
  // Half-normal inputs and normal filters, as in docs/numerics.md: the next best points err a sixth more, or half.
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const bool f32 = std::is_same_v<T, float>;
    struct Limit {
      Conv2dGeometry geometry;
      double rms;
    };
    for (const auto& [g, rms] : {Limit{row(7, 3, 2, 10, 30, 192, 32), f32 ? 1.7e-6 : 0.009},
                                 Limit{row(3, 1, 2, 10, 30, 192, 32), f32 ? 0.6e-6 : 0.0055}}) {
      Operands o(g);
      o.x = test::normal(static_cast<std::int64_t>(o.x.size()), 1);
      for (float& value : o.x) value = std::max(0.0f, value);
      o.x = test::held<T>(o.x);
      o.w = test::held<T>(test::normal(static_cast<std::int64_t>(o.w.size()), 3));
      const double found =
          test::relative_rms(on_cpu<T>(ConvPass::fprop, g, o), on_reference<double>(ConvPass::fprop, g, o));
      CHECK(found <= rms);
    }
  });
}

TEST_CASE("winograd lines: what they take") {
  const auto used = [](Conv2dGeometry g, auto change) {
    change(g);
    return cpu::use_winograd_line<float>(ConvPass::fprop, g);
  };
  for (const Conv2dGeometry& shape : kShapes)
    for (const ConvPass pass : kPasses) CHECK(cpu::use_winograd_line<float>(pass, shape));
  const Conv2dGeometry g = row(7, 3, 1, 14, 14, 64, 64);
  CHECK(used(g, [](auto&) {}));
  CHECK(used(g, [](auto& o) { o.n = 64; }));
  CHECK(used(g, [](auto& o) { o = column(7, 3, 1, 14, 14, 64, 64); }));
  CHECK(used(g, [](auto& o) { o.s = 3, o.pad_w = 1; }));
  CHECK(used(g, [](auto& o) { o.s = 8; }));
  CHECK(used(g, [](auto& o) { o.c = o.k = 32; }));
  CHECK(!used(g, [](auto& o) { o.stride_h = 2; }));
  CHECK(!used(g, [](auto& o) { o.stride_w = 2; }));
  CHECK(!used(g, [](auto& o) { o.dilation_w = 2; }));
  CHECK(!used(g, [](auto& o) { o.groups = 2; }));
  CHECK(!used(g, [](auto& o) { o.pad_h = 1; }));
  CHECK(!used(column(7, 3, 1, 14, 14, 64, 64), [](auto& o) { o.pad_w = 1; }));
  CHECK(!used(g, [](auto& o) { o.pad_w = 7; }));
  CHECK(!used(g, [](auto& o) { o.r = 2; }));
  CHECK(!used(g, [](auto& o) { o.c = 31; }));
  CHECK(!used(g, [](auto& o) { o.k = 31; }));
  CHECK(!used(g, [](auto& o) { o.s = 1, o.pad_w = 0; }));
  CHECK(!used(g, [](auto& o) { o.s = 2, o.pad_w = 1; }));
  CHECK(!used(g, [](auto& o) { o.s = 9, o.pad_w = 4; }));
  CHECK(!used(g, [](auto& o) { o.w = 2; }));
  // A pass goes by the length of what it writes: a y of 2 pixels is too short, the x of 4 behind it is not.
  const Conv2dGeometry narrow = row(3, 0, 1, 14, 4, 64, 64);
  CHECK(!cpu::use_winograd_line<float>(ConvPass::fprop, narrow));
  CHECK(cpu::use_winograd_line<float>(ConvPass::dgrad, narrow));
  CHECK(!cpu::use_winograd_line<float>(ConvPass::wgrad, narrow));
  // In bf16 wgrad wants 128 tiles; here an image has 14 lines of 3.
  Conv2dGeometry deep = g;
  CHECK(cpu::use_winograd_line<BFloat16>(ConvPass::fprop, deep));
  CHECK(cpu::use_winograd_line<BFloat16>(ConvPass::dgrad, deep));
  deep.n = 3;
  CHECK(!cpu::use_winograd_line<BFloat16>(ConvPass::wgrad, deep));
  deep.n = 4;
  CHECK(cpu::use_winograd_line<BFloat16>(ConvPass::wgrad, deep));
}

TEST_CASE("winograd lines: conv2d takes them, unless Winograd's algorithm is turned off") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    for (const Conv2dGeometry& g : {row(7, 3, 7, 7, 13, 33, 35), column(3, 1, 9, 8, 8, 33, 35)}) {
      const Operands o(g, zero);
      Operands integers = o;
      integers.x = test::integers<float>(static_cast<std::int64_t>(o.x.size()), 5, -3, 3);
      integers.w = test::integers<float>(static_cast<std::int64_t>(o.w.size()), 6, -3, 3);
      integers.dy = test::integers<float>(static_cast<std::int64_t>(o.dy.size()), 7, -3, 3);
      for (const ConvPass pass : kPasses) {
        CAPTURE(static_cast<int>(pass));
        const std::vector<float> by_default = on_cpu<T>(pass, g, o);
        CHECK(by_default == by_lines<T>(pass, g, o));
        set_winograd_enabled(false);
        const bool used = cpu::use_winograd_line<T>(pass, g);
        const std::vector<float> direct = on_cpu<T>(pass, g, o), exact = on_cpu<T>(pass, g, integers);
        set_winograd_enabled(true);
        CHECK(!used);
        CHECK(direct != by_default);
        const std::vector<float> expected = on_reference<float>(pass, g, integers);
        CHECK(exact == (pass == ConvPass::wgrad ? expected : test::held<T>(expected)));
      }
    }
  });
}

}  // namespace retort
