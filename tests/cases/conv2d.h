// Convolutions on any backend: exact on small integers, within the bound of a dot product on reals.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include "tests/cases/backend.h"
#include "tests/cases/conv2d_shapes.h"

namespace retort::test {
namespace conv2d_cases {

struct Operands {
  Conv2dGeometry g;
  std::vector<float> x, w, dy, bias, scale;  // dy is the residual too
};

/// draw(count, seed) gives the values of one operand.
template <class Draw>
Operands operands(const Conv2dGeometry& g, const Draw& draw) {
  return {g,
          draw(g.n * g.h * g.w * g.c, 1),
          draw(g.r * g.s * g.c_per_group() * g.k, 2),
          draw(g.n * g.p() * g.q() * g.k, 3),
          draw(g.k, 5),
          draw(g.k, 7)};
}

inline Operands absolute(Operands o) {
  for (auto* values : {&o.x, &o.w, &o.dy, &o.bias, &o.scale})
    for (float& value : *values) value = std::fabs(value);
  return o;
}

/// y_normalized and y_clipped have all of an epilogue, the latter with a ceiling. dx and dw are empty where backward is
/// another backend's.
struct Outputs {
  std::vector<double> y, y_bias_relu, y_normalized, y_clipped, dx, dw;
};

/// Below some outputs of all shapes, above others.
constexpr float kCeiling = 0.5f;

/// Operands on a backend, to be convolved any number of times.
template <class T>
struct Convolution {
  using P = ParameterOf<T>;
  const Backend& backend;
  const Conv2dKernels& conv;
  Conv2dGeometry g;
  Buffer<T> x, w, dy;
  Buffer<P> bias, scale;
  std::size_t x_size, w_size, y_size;

  Convolution(const Backend& where, const Conv2dKernels& kernels, const Operands& o)
      : backend(where),
        conv(kernels),
        g(o.g),
        x(where, as<T>(o.x)),
        w(where, as<T>(o.w)),
        dy(where, as<T>(o.dy)),
        bias(where, as<P>(o.bias)),
        scale(where, as<P>(o.scale)),
        x_size(o.x.size()),
        w_size(o.w.size()),
        y_size(o.dy.size()) {}

  Buffer<char> workspace(ConvPass pass) const { return {backend, conv.workspace_bytes(pass, g)}; }
  std::vector<double> fprop(const ConvEpilogue& epilogue) const {
    const Buffer<T> y(backend, y_size);
    conv.fprop({}, g, x.get(), w.get(), epilogue, y.get(), workspace(ConvPass::fprop).get());
    const std::size_t prepared_bytes = conv.prepared ? conv.prepared->bytes(g) : 0;
    if (prepared_bytes == 0) return y.wide();
    constexpr std::size_t kAlignment = 64;
    const Buffer<char> memory(backend, prepared_bytes + kAlignment);
    char* const prepared = memory.get() + kAlignment - reinterpret_cast<std::uintptr_t>(memory.get()) % kAlignment;
    const Buffer<T> same(backend, y_size);
    conv.prepared->prepare({}, g, w.get(), prepared);
    conv.prepared->fprop({}, g, x.get(), prepared, epilogue, same.get(), workspace(ConvPass::fprop).get());
    CHECK(count_different(same.wide(), y.wide()) == 0);
    return y.wide();
  }
  Outputs run() const {
    Outputs found = {.y = fprop({}),
                     .y_bias_relu = fprop({.bias = bias.get(), .relu = true}),
                     .y_normalized = fprop({scale.get(), bias.get(), dy.get(), /*relu=*/true}),
                     .y_clipped = fprop({scale.get(), bias.get(), dy.get(), /*relu=*/true, kCeiling}),
                     .dx = {},
                     .dw = {}};
    if (backend.forward_only) return found;
    const Buffer<T> dx(backend, x_size);
    const Buffer<P> dw(backend, w_size);
    conv.dgrad({}, g, dy.get(), w.get(), dx.get(), workspace(ConvPass::dgrad).get());
    conv.wgrad({}, g, x.get(), dy.get(), dw.get(), workspace(ConvPass::wgrad).get());
    found.dx = dx.wide(), found.dw = dw.wide();
    return found;
  }
};

inline Outputs run_oracle(const Operands& o) { return Convolution<double>(host(), oracle().conv2d, o).run(); }

/// Whether the shape shows something of this backend.
inline bool is_for(const Backend& backend, const ConvShape& shape) {
  const Conv2dGeometry& g = shape.geometry;
  return shape.work <= backend.work && (!backend.eights_alone || (g.groups == 1 && g.c % 8 == 0 && g.k % 8 == 0));
}

inline void check_exact(const Backend& backend, std::span<const ConvShape> shapes) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const ConvShape& shape : shapes) {
      if (!is_for(backend, shape)) continue;
      CAPTURE(std::string(shape.name));
      const Operands o =
          operands(shape.geometry, [](std::int64_t n, std::uint64_t seed) { return integers<float>(n, seed, -3, 3); });
      const Outputs& expected = once(shape.name, [&] { return run_oracle(o); });
      const Convolution<T> convolution(backend, table.conv2d, o);
      for_each_mode(backend, [&](const Mode& mode) {
        if (!mode.affords(shape.work)) return;
        const Outputs found = convolution.run();
        CHECK(count_different(found.y, rounded<T>(expected.y)) == 0);
        CHECK(count_different(found.y_bias_relu, rounded<T>(expected.y_bias_relu)) == 0);
        CHECK(count_different(found.y_normalized, rounded<T>(expected.y_normalized)) == 0);
        CHECK(count_different(found.y_clipped, rounded<T>(expected.y_clipped)) == 0);
        if (backend.forward_only) return;
        CHECK(count_different(found.dx, rounded<T>(expected.dx)) == 0);
        CHECK(count_different(found.dw, expected.dw) == 0);
      });
    }
  });
}

inline void uneven_padding_is_exact(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    if (!table.conv2d.uneven_padding) return;
    for (const ConvShape& shape : kConvUneven) {
      CAPTURE(std::string(shape.name));
      const Operands o =
          operands(shape.geometry, [](std::int64_t n, std::uint64_t seed) { return integers<float>(n, seed, -3, 3); });
      const Convolution<double> expected(host(), oracle().conv2d, o);
      const Convolution<T> convolution(backend, table.conv2d, o);
      const auto clipped = [](const auto& c) {
        return c.fprop({c.scale.get(), c.bias.get(), c.dy.get(), /*relu=*/true, kCeiling});
      };
      for_each_mode(backend, [&](const Mode&) {
        CHECK(count_different(convolution.fprop({}), rounded<T>(expected.fprop({}))) == 0);
        CHECK(count_different(clipped(convolution), rounded<T>(clipped(expected))) == 0);
      });
    }
  });
}

inline void integers_are_exact(const Backend& backend) { check_exact(backend, kConvShapes); }
inline void eights_are_exact(const Backend& backend) { check_exact(backend, kConvEights); }
inline void layers_are_exact(const Backend& backend) { check_exact(backend, kConvLayers); }

/// The two roundings of an epilogue's scale and residual, beside those of the sum.
constexpr std::int64_t kEpilogueRoundings = 2;

/// draw(count, seed) gives the values of one operand, as T holds them.
template <class T, class Draw>
void check_reals(const Backend& backend, const Conv2dKernels& conv, const ConvShape& shape, const Draw& draw) {
  const Conv2dGeometry& g = shape.geometry;
  const Operands o = operands(g, draw);
  const Outputs expected = run_oracle(o), magnitude = run_oracle(absolute(o));
  // A product of two rounded operands.
  const double operands = 2.01 * backend.arithmetic.operand_rounding;
  const auto near = [&](auto zero, const std::vector<double>& found, const std::vector<double>& wanted,
                        const std::vector<double>& sizes, std::int64_t terms) {
    if (backend.relative_rms > 0) return relative_rms(found, wanted) <= backend.relative_rms;
    return worst(found, wanted, [&](std::size_t i) {
             return dot_tolerance(terms, sizes[i]) + operands * sizes[i] +
                    epsilon_of<decltype(zero)> / 2 * std::fabs(wanted[i]) * 1.01;
           }) <= 1;
  };
  const Convolution<T> convolution(backend, conv, o);
  const T element(0.0f);
  const std::int64_t taps = g.r * g.s, positions = g.n * g.p() * g.q();
  SameBits same;
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(shape.work)) return;
    const Outputs found = convolution.run();
    CHECK(near(element, found.y, expected.y, magnitude.y, taps * g.c));
    CHECK(near(element, found.y_bias_relu, expected.y_bias_relu, magnitude.y_bias_relu, taps * g.c));
    CHECK(near(element, found.y_normalized, expected.y_normalized, magnitude.y_normalized,
               taps * g.c + kEpilogueRoundings));
    // Clipping brings no two values further apart; the bound is that of the values before it.
    CHECK(near(element, found.y_clipped, expected.y_clipped, magnitude.y_normalized, taps * g.c + kEpilogueRoundings));
    if (backend.forward_only) return;
    CHECK(near(element, found.dx, expected.dx, magnitude.dx, taps * g.k));
    CHECK(near(float{}, found.dw, expected.dw, magnitude.dw, positions));
    if (backend.relative_rms > 0) return;
    const Outputs again = convolution.run();
    CHECK(count_different(again.y, found.y) == 0);
    CHECK(count_different(again.dx, found.dx) == 0);
    CHECK(count_different(again.dw, found.dw) == 0);
    // Threads share a filter's gradient among them; y and dx do not depend on how many they are.
    same.check(mode, {found.y, found.dx});
  });
}

/// Every pass, as gemm_cases::rounded_to_nearest has it.
inline void rounded_to_nearest(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    check_reals<float>(backend, table.conv2d, {"3x3 of operands below tf32", kConvTf32, Work::modest}, just_below_tf32);
  });
}

inline void reals_are_within_the_bound(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for (const ConvShape& shape : kConvRealShapes) {
      if (!is_for(backend, shape)) continue;
      CAPTURE(std::string(shape.name));
      using T = decltype(zero);
      check_reals<T>(backend, table.conv2d, shape,
                     [](std::int64_t n, std::uint64_t seed) { return held<T>(normal(n, seed)); });
    }
  });
}

}  // namespace conv2d_cases

/// What NVIDIA's libraries promise too.
inline const std::vector<Case> kConv2dRealCases = {
    {"real values are within the bound of a dot product, run to run the same bits",
     conv2d_cases::reals_are_within_the_bound},
};
inline const std::vector<Case> kConv2dCases = {
    kConv2dRealCases[0],
    {"operands are rounded to nearest where they are rounded", conv2d_cases::rounded_to_nearest},
    {"small integers are exact in every pass", conv2d_cases::integers_are_exact},
    {"small integers are exact where channels come in eights", conv2d_cases::eights_are_exact},
    {"small integers are exact in the three networks' layers", conv2d_cases::layers_are_exact},
    {"small integers are exact with more padding on one side", conv2d_cases::uneven_padding_is_exact},
};

}  // namespace retort::test
