// Matrix products on any backend: exact on small integers, within the bound of a dot product on reals.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "tests/cases/backend.h"
#include "tests/cases/gemm_shapes.h"

namespace retort::test {
namespace gemm_cases {

struct Operands {
  GemmGeometry g;
  std::vector<float> a, b, bias;  // bias may be empty
  bool relu = false;
};

/// A product whose operands lie on the backend, to be run any number of times.
template <class T, class Out>
struct Product {
  using P = ParameterOf<T>;
  const Backend& backend;
  const GemmKernels& gemm;
  GemmGeometry g;
  bool relu, has_bias;
  Buffer<T> a, b;
  Buffer<P> bias;

  Product(const Backend& where, const GemmKernels& kernels, const Operands& o)
      : backend(where),
        gemm(kernels),
        g(o.g),
        relu(o.relu),
        has_bias(!o.bias.empty()),
        a(where, as<T>(o.a)),
        b(where, as<T>(o.b)),
        bias(where, as<P>(o.bias)) {}
  std::vector<Out> run() const {
    const Buffer<Out> c(backend, static_cast<std::size_t>(g.m * g.n));
    const Buffer<char> workspace(backend, gemm.workspace_bytes(g));
    gemm.run({}, g, a.get(), b.get(), has_bias ? bias.get() : nullptr, relu, c.get(), workspace.get());
    return c.values();
  }
};

/// Calls use(product) with C of T, or of f32 where it is a parameter's gradient.
template <class T, class Use>
void with_product(const Backend& backend, const GemmKernels& gemm, const Operands& o, const Use& use) {
  if (o.g.parameter_c)
    use(Product<T, ParameterOf<T>>(backend, gemm, o));
  else
    use(Product<T, T>(backend, gemm, o));
}
inline std::vector<double> run_oracle(const Operands& o) {
  return Product<double, double>(host(), oracle().gemm, o).run();
}

/// Half a unit of C's type in a result.
template <class T>
double half_unit(const GemmGeometry& g, double value) {
  return (g.parameter_c ? epsilon32 : epsilon_of<T>) / 2 * std::fabs(value) * 1.01;
}

/// What a product must be, to the bit.
template <class T>
struct Exact {
  Operands operands;
  std::vector<double> expected;

  Exact(const GemmGeometry& g, bool with_bias, bool relu)
      : operands{g, integers<float>(g.m * g.k, 1, -3, 3), integers<float>(g.k * g.n, 2, -3, 3),
                 with_bias ? integers<float>(g.n, 3, -9, 9) : std::vector<float>(), relu},
        expected(run_oracle(operands)) {
    if (!g.parameter_c) expected = rounded<T>(std::move(expected));
  }
  void check(const Backend& backend, const GemmKernels& gemm) const {
    const GemmGeometry& g = operands.g;
    CAPTURE(g.m);
    CAPTURE(g.n);
    CAPTURE(g.k);
    CAPTURE(g.transpose_a);
    CAPTURE(g.transpose_b);
    CAPTURE(g.parameter_c);
    CAPTURE(operands.bias.size());
    CAPTURE(operands.relu);
    with_product<T>(backend, gemm, operands,
                    [&](const auto& product) { CHECK(count_different(product.run(), expected) == 0); });
  }
};

/// make(shape, zero) gives the exact products of a shape.
template <class Shapes, class Make>
void check_exact(const Backend& backend, const Shapes& shapes, const Make& make) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for (const GemmShape& shape : shapes) {
      if (shape.work > backend.work) continue;
      if (backend.eights_alone && (shape.n % 8 != 0 || (shape.m % 8 != 0 && shape.k % 8 != 0))) continue;
      const std::string key = std::to_string(shape.m) + " " + std::to_string(shape.n) + " " + std::to_string(shape.k);
      const std::vector<Exact<decltype(zero)>>& products = once(key, [&] { return make(shape, zero); });
      for_each_mode(backend, [&](const Mode& mode) {
        if (!mode.affords(shape.work)) return;
        for (const auto& product : products) product.check(backend, table.gemm);
      });
    }
  });
}

inline void integers_are_exact(const Backend& backend) {
  check_exact(backend, kGemmShapes, [](const GemmShape& shape, auto zero) {
    std::vector<Exact<decltype(zero)>> products;
    for (int variant = 0; variant < 16; ++variant) {
      GemmGeometry g = {shape.m, shape.n, shape.k, (variant & 1) != 0, (variant & 2) != 0};
      const bool with_bias = (variant & 4) != 0, relu = (variant & 8) != 0;
      products.emplace_back(g, with_bias, relu);
      g.parameter_c = true;
      // The gradient of a weight: A transposed.
      if (g.transpose_a && !g.transpose_b) products.emplace_back(g, with_bias, relu);
    }
    return products;
  });
}

inline void several_blocks_are_exact(const Backend& backend) {
  check_exact(backend, kGemmBlocks, [](const GemmShape& shape, auto zero) {
    std::vector<Exact<decltype(zero)>> products;
    for (int variant = 0; variant < 8; ++variant)
      products.emplace_back(
          GemmGeometry{shape.m, shape.n, shape.k, (variant & 1) != 0, (variant & 2) != 0, (variant & 4) != 0},
          /*with_bias=*/true, /*relu=*/true);
    return products;
  });
}

/// Each transposition alone: a product of large tiles takes a simulated GPU seconds.
inline void large_tiles_are_exact(const Backend& backend) {
  check_exact(backend, kGemmLargeTiles, [](const GemmShape& shape, auto zero) {
    std::vector<Exact<decltype(zero)>> products;
    for (int variant = 0; variant < 4; ++variant) {
      const bool a = (variant & 1) != 0, b = (variant & 2) != 0;
      products.emplace_back(GemmGeometry{shape.m, shape.n, shape.k, a, b, /*parameter_c=*/a && !b},
                            /*with_bias=*/true, /*relu=*/!b);
    }
    return products;
  });
}

/// An operand that is rounded to tf32 to nearest loses at most 2^-11 of itself, here 2^-23, and cut off 2^-10: the
/// bound allows a product twice 2^-11.
inline void rounded_to_nearest(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    for (int variant = 0; variant < 4; ++variant) {
      const GemmGeometry g = {24, 40, 56, (variant & 1) != 0, (variant & 2) != 0};
      CAPTURE(variant);
      const Operands o = {g, just_below_tf32(g.m * g.k, 1), just_below_tf32(g.k * g.n, 2), {}, /*relu=*/false};
      const std::vector<double> expected = run_oracle(o);
      const double operands = 2.01 * backend.arithmetic.operand_rounding;
      const Product<float, float> product(backend, table.gemm, o);
      for_each_mode(backend, [&](const Mode&) {
        CHECK(worst(wide(product.run()), expected, [&](std::size_t i) {
                return dot_tolerance(g.k, expected[i]) + operands * expected[i] + half_unit<float>(g, expected[i]);
              }) <= 1);
      });
    }
  });
}

inline void reals_are_within_the_bound(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const GemmShape& shape : {GemmShape{67, 45, 1391, Work::much}, {24, 40, 56, Work::little}})
      for (int variant = 0; variant < 4; ++variant) {
        if (shape.work > backend.work) continue;
        const GemmGeometry g = {shape.m, shape.n, shape.k, (variant & 1) != 0, (variant & 2) != 0};
        CAPTURE(g.k);
        CAPTURE(variant);
        const Operands o = {g, held<T>(normal(g.m * g.k, 1)), held<T>(normal(g.k * g.n, 3)), normal(g.n, 5),
                            /*relu=*/shape.work == Work::little};
        Operands magnitudes = o;
        for (auto* values : {&magnitudes.a, &magnitudes.b, &magnitudes.bias})
          for (float& value : *values) value = std::fabs(value);
        const std::vector<double> expected = run_oracle(o), magnitude = run_oracle(magnitudes);
        const double operands = 2.01 * backend.arithmetic.operand_rounding;
        SameBits same;
        const Product<T, T> product(backend, table.gemm, o);
        for_each_mode(backend, [&](const Mode& mode) {
          if (!mode.affords(shape.work)) return;
          const std::vector<double> found = wide(product.run());
          if (backend.relative_rms > 0) {
            CHECK(relative_rms(found, expected) <= backend.relative_rms);
            return;
          }
          CHECK(worst(found, expected, [&](std::size_t i) {
                  return dot_tolerance(g.k, magnitude[i]) + operands * magnitude[i] + half_unit<T>(g, expected[i]);
                }) <= 1);
          same.check(mode, {found});
        });
      }
  });
}

/// So that a diverged training is seen.
inline void relu_keeps_nan(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    Operands o = {{.m = 2, .n = 3, .k = 2}, {1, 2, 3, 4}, {1, 1, 1, 1, 1, 1}, {}, true};
    o.a[0] = std::numeric_limits<float>::quiet_NaN();
    using T = decltype(zero);
    const Product<T, T> product(backend, table.gemm, o);
    for_each_mode(backend, [&](const Mode&) {
      const std::vector<double> c = wide(product.run());
      CHECK(std::isnan(c[0]));
      CHECK(c[3] == 7);
    });
  });
}

}  // namespace gemm_cases

/// What NVIDIA's libraries promise too.
inline const std::vector<Case> kGemmRealCases = {
    {"real values are within the bound of a dot product, the same bits in every mode",
     gemm_cases::reals_are_within_the_bound},
};
inline const std::vector<Case> kGemmCases = {
    kGemmRealCases[0],
    {"small integers are exact for every edge shape, transposition and epilogue", gemm_cases::integers_are_exact},
    {"shapes of several blocks in each direction are exact", gemm_cases::several_blocks_are_exact},
    {"products of large tiles are exact", gemm_cases::large_tiles_are_exact},
    {"operands are rounded to nearest where they are rounded", gemm_cases::rounded_to_nearest},
    {"relu keeps NaN", gemm_cases::relu_keeps_nan},
};

}  // namespace retort::test
