// Batch normalisation, its gradients, and its folding into a convolution's epilogue, on any backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/cases/backend.h"

namespace retort::test {
namespace batch_norm_cases {

struct Shape {
  BatchNormGeometry geometry;
  Work work = Work::usual;
  bool bf16 = false;  ///< in bf16 too, which differs in loads and stores alone
};
// One row, one channel, primes, around one and four vectors of 8 and 16 lanes, around blocks of 64 rows and their 32
// ranges; and a row more than pairs of rows, of channels that leave a GPU's last block threads to spare, one by one, by
// fours and by eights.
inline constexpr Shape kShapes[] = {{{1, 1}},
                                    {{2, 1}, Work::usual, true},
                                    {{1, 17}},
                                    {{3, 7}},
                                    {{6, 8}, Work::usual, true},
                                    {{64, 8}},
                                    {{65, 16}},
                                    {{65, 33}, Work::usual, true},
                                    {{5, 33}},
                                    {{130, 3}, Work::usual, true},
                                    {{63, 64}},
                                    {{97, 65}},
                                    {{131, 80}, Work::much},
                                    {{700, 16}, Work::usual, true},
                                    {{700, 80}, Work::much, true},
                                    {{4099, 3}, Work::much},
                                    {{2051, 35}, Work::much},
                                    {{3, 1028}, Work::usual, true},
                                    {{3, 2056}, Work::usual, true}};

/// What a batch norm reads, as its elements hold it.
struct Inputs {
  BatchNormGeometry g;
  bool relu = false;
  std::vector<double> x, residual, dy;  // residual may be empty
  std::vector<double> gamma, beta, running_mean, running_var;
  double eps = 1e-5, momentum = 0.1;
};

/// x is uniform in mean +- spread.
template <class T>
Inputs inputs(const BatchNormGeometry& g, bool residual, bool relu, double mean, double spread) {
  const std::int64_t n = g.rows * g.channels;
  const auto elements = [&](std::uint64_t seed, double low, double high) {
    return wide(held<T>(uniform(n, seed, low, high)));
  };
  const auto parameters = [&](std::uint64_t seed, double low, double high) {
    return wide(uniform(g.channels, seed, low, high));
  };
  return {.g = g,
          .relu = relu,
          .x = elements(1, mean - spread, mean + spread),
          .residual = residual ? elements(4, -1, 1) : std::vector<double>{},
          .dy = elements(5, -1, 1),
          .gamma = parameters(2, -2, 2),
          .beta = parameters(3, -1, 1),
          .running_mean = parameters(6, -1, 1),
          .running_var = parameters(7, 0.5, 2)};
}

struct Forward {
  std::vector<double> y, mean, inv_std, running_mean, running_var;
};
struct Backward {
  std::vector<double> dx, dgamma, dbeta, dresidual;
};
/// Which of Backward's are wanted; the others stay NaN.
struct Wanted {
  bool dx = true, dgamma = true, dbeta = true, dresidual = true;
};

template <class T>
Forward forward(const Backend& backend, const BatchNormKernels& norm, const Inputs& in, bool train) {
  using P = ParameterOf<T>;
  const Buffer<T> x(backend, as<T>(in.x)), residual(backend, as<T>(in.residual)), y(backend, in.x.size());
  const Buffer<P> gamma(backend, as<P>(in.gamma)), beta(backend, as<P>(in.beta)),
      running_mean(backend, as<P>(in.running_mean)), running_var(backend, as<P>(in.running_var)),
      mean(backend, in.gamma.size()), inv_std(backend, in.gamma.size());
  const Buffer<char> workspace(backend, norm.workspace_bytes(in.g));
  const BatchNormForward f = {.x = x.get(),
                              .gamma = gamma.get(),
                              .beta = beta.get(),
                              .residual = in.residual.empty() ? nullptr : residual.get(),
                              .relu = in.relu,
                              .eps = in.eps,
                              .y = y.get()};
  if (train) {
    norm.forward_train({}, in.g, f, in.momentum, mean.get(), inv_std.get(), running_mean.get(), running_var.get(),
                       workspace.get());
  } else {
    // Statistics that nobody wants: the same y.
    norm.forward_eval({}, in.g, f, running_mean.get(), running_var.get(), nullptr, nullptr, workspace.get());
    const std::vector<double> alone = y.wide();
    norm.forward_eval({}, in.g, f, running_mean.get(), running_var.get(), mean.get(), inv_std.get(), workspace.get());
    CHECK(count_different(y.wide(), alone) == 0);
  }
  return {y.wide(), mean.wide(), inv_std.wide(), running_mean.wide(), running_var.wide()};
}

/// From the state that a forward pass left. Without a y, ReLU's sign follows from x.
template <class T>
Backward backward(const Backend& backend, const BatchNormKernels& norm, const Inputs& in, const Forward& state,
                  bool train, bool with_y = true, const Wanted& wanted = {}) {
  using P = ParameterOf<T>;
  const Buffer<T> x(backend, as<T>(in.x)), y(backend, as<T>(state.y)), dy(backend, as<T>(in.dy)),
      dx(backend, in.x.size()), dresidual(backend, in.x.size());
  const Buffer<P> gamma(backend, as<P>(in.gamma)), beta(backend, as<P>(in.beta)), mean(backend, as<P>(state.mean)),
      inv_std(backend, as<P>(state.inv_std)), dgamma(backend, in.gamma.size()), dbeta(backend, in.gamma.size());
  const Buffer<char> workspace(backend, norm.workspace_bytes(in.g));
  const BatchNormBackward b = {.x = x.get(),
                               .y = in.relu && with_y ? y.get() : nullptr,
                               .dy = dy.get(),
                               .gamma = gamma.get(),
                               .beta = beta.get(),
                               .mean = mean.get(),
                               .inv_std = inv_std.get(),
                               .relu = in.relu,
                               .dx = wanted.dx ? dx.get() : nullptr,
                               .dgamma = wanted.dgamma ? dgamma.get() : nullptr,
                               .dbeta = wanted.dbeta ? dbeta.get() : nullptr,
                               .dresidual = wanted.dresidual ? dresidual.get() : nullptr};
  (train ? norm.backward_train : norm.backward_eval)({}, in.g, b, workspace.get());
  return {dx.wide(), dgamma.wide(), dbeta.wide(), dresidual.wide()};
}

/// Roundings of a column's sum, and a handful around it.
inline double sum_roundings(const Backend& backend) {
  return static_cast<double>(backend.arithmetic.float_rows) / 2 + 4;
}

template <class T>
void check_forward(const Backend& backend, const BatchNormKernels& norm, const Inputs& in, bool train,
                   const Work& work = Work::usual) {
  const Forward expected = forward<double>(host(), oracle().batch_norm, in, train);
  const std::size_t channels = in.gamma.size();
  const auto deviation = [&](std::size_t i) {
    return std::fabs(in.x[i] - expected.mean[i % channels]) * expected.inv_std[i % channels];
  };
  // Squares about a row that is off the mean by d deviations are larger than the variance by 1 + d^2.
  std::vector<double> statistics(channels, sum_roundings(backend));
  if (backend.arithmetic.squares_about_a_row && train) {
    std::vector<double> furthest(channels);
    for (std::size_t i = 0; i < in.x.size(); ++i)
      furthest[i % channels] = std::max(furthest[i % channels], deviation(i));
    for (std::size_t c = 0; c < channels; ++c) statistics[c] *= 1 + furthest[c] * furthest[c];
  }
  // The statistics are off by their roundings of the deviation, 1 after normalisation, the mean by its own rounding,
  // and the sum has a few of its own.
  const auto of_y = [&](std::size_t i) {
    const std::size_t c = i % channels;
    const double residual = in.residual.empty() ? 0 : std::fabs(in.residual[i]);
    const double rounded_mean = std::fabs(expected.mean[c]) * expected.inv_std[c] / 2;
    return epsilon32 * (std::fabs(in.gamma[c]) * (statistics[c] * (1 + deviation(i)) + rounded_mean) +
                        2 * (std::fabs(in.beta[c]) + residual));
  };
  const auto of_mean = [&](const std::vector<double>& mean) {
    return [&](std::size_t c) { return epsilon32 * (std::fabs(mean[c]) + statistics[c] / expected.inv_std[c]); };
  };
  SameBits same;
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    const Forward found = forward<T>(backend, norm, in, train);
    CHECK(float_holds(as<T>(found.y), expected.y, of_y));
    same.check(mode, {found.y, found.mean, found.inv_std, found.running_mean, found.running_var});
    if (!train) {
      CHECK(count_different(found.mean, in.running_mean) == 0);
      CHECK(worst(found.inv_std, expected.inv_std, [&](std::size_t c) { return epsilon32 * expected.inv_std[c]; }) <=
            1);
      CHECK(count_different(found.running_var, in.running_var) == 0);
      return;
    }
    CHECK(worst(found.mean, expected.mean, of_mean(expected.mean)) <= 1);
    CHECK(worst(found.inv_std, expected.inv_std,
                [&](std::size_t c) { return statistics[c] * epsilon32 * expected.inv_std[c]; }) <= 1);
    CHECK(worst(found.running_mean, expected.running_mean, of_mean(expected.running_mean)) <= 1);
    CHECK(worst(found.running_var, expected.running_var,
                [&](std::size_t c) { return 2 * statistics[c] * epsilon32 * expected.running_var[c]; }) <= 1);
  });
}

template <class T>
void check_backward(const Backend& backend, const BatchNormKernels& norm, const Inputs& in, bool train,
                    const Work& work = Work::usual) {
  // One state for both, as the backend's elements hold it: ReLU decides alike.
  Forward state = forward<double>(host(), oracle().batch_norm, in, true);
  state.y = wide(as<T>(state.y)), state.mean = wide(as<float>(state.mean)),
  state.inv_std = wide(as<float>(state.inv_std));
  const Backward expected = backward<double>(host(), oracle().batch_norm, in, state, train);
  // Sums of absolute values, as the errors grow with these.
  const std::size_t channels = in.gamma.size();
  const auto normalized = [&](std::size_t i) {
    return std::fabs((in.x[i] - state.mean[i % channels]) * state.inv_std[i % channels]);
  };
  std::vector<double> sum(channels), product(channels);
  for (std::size_t i = 0; i < in.x.size(); ++i) {
    const double gradient = std::fabs(expected.dresidual[i]);
    sum[i % channels] += gradient;
    product[i % channels] += gradient * normalized(i);
  }
  const double roundings = sum_roundings(backend), through = train ? roundings / static_cast<double>(in.g.rows) : 0;
  const auto of_dx = [&](std::size_t i) {
    const std::size_t c = i % channels;
    return epsilon32 * std::fabs(in.gamma[c] * state.inv_std[c]) *
           (2 * std::fabs(expected.dresidual[i]) + through * (sum[c] + normalized(i) * product[c]));
  };
  SameBits same;
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    const Backward found = backward<T>(backend, norm, in, state, train);
    CHECK(count_different(found.dresidual, expected.dresidual) == 0);
    CHECK(worst(found.dbeta, expected.dbeta, [&](std::size_t c) { return roundings * epsilon32 * sum[c]; }) <= 1);
    CHECK(worst(found.dgamma, expected.dgamma, [&](std::size_t c) { return roundings * epsilon32 * product[c]; }) <= 1);
    CHECK(float_holds(as<T>(found.dx), expected.dx, of_dx));
    same.check(mode, {found.dx, found.dgamma, found.dbeta});
  });
}

/// Runs check(zero, kernels, shape) for the shapes that the backend affords.
template <class Check>
void for_each_shape(const Backend& backend, const Check& check) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for (const Shape& shape : kShapes) {
      if (shape.work > backend.work || (!shape.bf16 && std::is_same_v<decltype(zero), BFloat16>)) continue;
      CAPTURE(shape.geometry.rows);
      CAPTURE(shape.geometry.channels);
      check(zero, table.batch_norm, shape);
    }
  });
}

inline void forward_equals_the_oracle(const Backend& backend) {
  for_each_shape(backend, [&](auto zero, const BatchNormKernels& norm, const Shape& shape) {
    using T = decltype(zero);
    for (const bool residual : {false, true})
      for (const bool relu : {false, true})
        for (const bool train : {true, false}) {
          CAPTURE(residual);
          CAPTURE(relu);
          CAPTURE(train);
          check_forward<T>(backend, norm, inputs<T>(shape.geometry, residual, relu, 0.3, 2), train, shape.work);
        }
  });
}

inline void backward_equals_the_oracle(const Backend& backend) {
  for_each_shape(backend, [&](auto zero, const BatchNormKernels& norm, const Shape& shape) {
    using T = decltype(zero);
    for (const bool relu : {false, true})
      for (const bool train : {true, false}) {
        CAPTURE(relu);
        CAPTURE(train);
        check_backward<T>(backend, norm, inputs<T>(shape.geometry, true, relu, 0.3, 2), train, shape.work);
      }
  });
}

template <class T>
std::vector<double> apply(const Backend& backend, const BatchNormKernels& norm, const Inputs& in,
                          const Forward& state) {
  const Buffer<T> x(backend, as<T>(in.x)), y(backend, in.x.size());
  const Buffer<float> gamma(backend, as<float>(in.gamma)), beta(backend, as<float>(in.beta)),
      mean(backend, as<float>(state.mean)), inv_std(backend, as<float>(state.inv_std));
  const Buffer<char> workspace(backend, norm.workspace_bytes(in.g));
  const BatchNormForward f = {x.get(), gamma.get(), beta.get(), nullptr, in.relu, 0, y.get()};
  norm.apply({}, in.g, f, mean.get(), inv_std.get(), workspace.get());
  return y.wide();
}

inline void y_once_more(const Backend& backend) {
  for_each_shape(backend, [&](auto zero, const BatchNormKernels& norm, const Shape& shape) {
    using T = decltype(zero);
    for (const bool relu : {false, true}) {
      const Inputs in = inputs<T>(shape.geometry, false, relu, 0.3, 2);
      for_each_mode(backend, [&](const Mode& mode) {
        if (!mode.affords(shape.work)) return;
        const Forward state = forward<T>(backend, norm, in, true);
        CHECK(apply<T>(backend, norm, in, state) == state.y);
        for (const bool train : {true, false}) {
          const Backward of_y = backward<T>(backend, norm, in, state, train),
                         from_x = backward<T>(backend, norm, in, state, train, /*with_y=*/false);
          CHECK(from_x.dx == of_y.dx);
          CHECK(from_x.dgamma == of_y.dgamma);
          CHECK(from_x.dbeta == of_y.dbeta);
          CHECK(from_x.dresidual == of_y.dresidual);
        }
      });
    }
  });
}

inline void folded(const Backend& backend) {
  const std::int64_t channels = 37;
  const Inputs in = inputs<float>({1, channels}, false, false, 0, 1);
  const std::vector<double> bias = wide(uniform(channels, 8));
  const auto fold = [&](auto zero, const Backend& where, const BatchNormKernels& norm, bool has_bias) {
    using P = decltype(zero);
    const Buffer<P> gamma(where, as<P>(in.gamma)), beta(where, as<P>(in.beta)), mean(where, as<P>(in.running_mean)),
        var(where, as<P>(in.running_var)), there(where, as<P>(bias)), scale(where, bias.size()),
        shift(where, bias.size());
    norm.fold({}, channels, gamma.get(), beta.get(), mean.get(), var.get(), in.eps, has_bias ? there.get() : nullptr,
              scale.get(), shift.get());
    return std::pair{scale.wide(), shift.wide()};
  };
  for_each_type(backend, [&](auto, const KernelTable& table) {
    for (const bool has_bias : {false, true}) {
      const auto [scale, shift] = fold(double{}, host(), oracle().batch_norm, has_bias);
      const auto found = fold(float{}, backend, table.batch_norm, has_bias);
      // In double throughout, and rounded once.
      const auto rounded = [](const std::vector<double>& values) {
        return [&](std::size_t i) { return 0.501 * epsilon32 * std::fabs(values[i]); };
      };
      CHECK(worst(found.first, scale, rounded(scale)) <= 1);
      CHECK(worst(found.second, shift, rounded(shift)) <= 1);
    }
  });
}

inline void far_from_zero(const Backend& backend) {
  Inputs drifting = inputs<float>({1000, 19}, false, false, 0, 1);
  for (std::size_t i = 0; i < drifting.x.size(); ++i) {
    const float drift = i < drifting.x.size() / 4 ? -30.0f : static_cast<float>(i) * 1e-3f;
    drifting.x[i] = static_cast<float>(drifting.x[i]) + drift;
  }
  for_each_f32(backend, [&](const KernelTable& table) {  // bf16 holds no thousand and a deviation
    const BatchNormKernels& norm = table.batch_norm;
    check_forward<float>(backend, norm, inputs<float>({1000, 19}, false, false, 1000, 1), true);
    check_backward<float>(backend, norm, inputs<float>({1000, 19}, false, true, 1000, 1), true);
    check_forward<float>(backend, norm, drifting, true);
  });
}

/// Large enough for a GPU's thread to take a second pair of rows (kernels/cuda/channel_rows.h), of which its last block
/// lacks one.
inline void long_walks(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    const Inputs in = inputs<float>({2047, 257}, false, true, 0.3, 2);
    check_forward<float>(backend, table.batch_norm, in, false, Work::usual);
    check_backward<float>(backend, table.batch_norm, in, false, Work::usual);
  });
}

inline void constant_channel(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode&) {
      Inputs in = inputs<T>({200, 5}, false, false, 0, 1);
      const double constant = float(T(0.1f));
      in.x.assign(in.x.size(), constant);
      in.running_var.assign(5, 1);
      const Forward found = forward<T>(backend, table.batch_norm, in, true);
      for (std::size_t c = 0; c < 5; ++c) {
        CHECK(std::fabs(found.mean[c] - constant) <= epsilon32 * constant);
        CHECK(std::fabs(found.inv_std[c] - 1 / std::sqrt(1e-5)) <= 4 * epsilon32 / std::sqrt(1e-5));
        CHECK(std::fabs(found.running_var[c] - 0.9) <= epsilon32);
        CHECK(std::fabs(found.y[c] - in.beta[c]) <= 1e-4 + epsilon_of<T> / 2 * std::fabs(in.beta[c]));
      }
      const Forward single = forward<T>(backend, table.batch_norm, inputs<T>({1, 5}, false, false, 0, 1), true);
      for (const double variance : single.running_var) CHECK(std::isfinite(variance));
    });
  });
}

inline void wanted_alone(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const Inputs in = inputs<T>({77, 21}, true, true, 0, 1);
    for_each_mode(backend, [&](const Mode&) {
      const Forward state = forward<T>(backend, table.batch_norm, in, true);
      for (const bool train : {true, false}) {
        const Backward all = backward<T>(backend, table.batch_norm, in, state, train);
        for (int bits = 0; bits < 16; ++bits) {
          const Wanted wanted = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
          const Backward some = backward<T>(backend, table.batch_norm, in, state, train, true, wanted);
          CHECK((some.dx == all.dx) == wanted.dx);
          CHECK((some.dgamma == all.dgamma) == wanted.dgamma);
          CHECK((some.dbeta == all.dbeta) == wanted.dbeta);
          CHECK((some.dresidual == all.dresidual) == wanted.dresidual);
        }
      }
    });
  });
}

inline void nan(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode&) {
      Inputs in = inputs<T>({70, 3}, false, true, 0, 1);
      in.x[4] = std::numeric_limits<double>::quiet_NaN();  // channel 1
      const Forward found = forward<T>(backend, table.batch_norm, in, true);
      CHECK(std::isnan(found.y[1]));
      CHECK(std::isnan(found.running_mean[1]));
      CHECK(std::isnan(found.running_var[1]));
      CHECK(std::isfinite(found.y[0]));
    });
  });
}

}  // namespace batch_norm_cases

inline const std::vector<Case> kBatchNormCases = {
    {"forward equals the oracle", batch_norm_cases::forward_equals_the_oracle},
    {"backward equals the oracle", batch_norm_cases::backward_equals_the_oracle},
    {"y once more to the same bits, and gradients without y", batch_norm_cases::y_once_more},
    {"folded, with a bias and without", batch_norm_cases::folded},
    {"a mean of a thousand deviations costs no more than its rounding, one that drifts nothing",
     batch_norm_cases::far_from_zero},
    {"many rows a thread", batch_norm_cases::long_walks},
    {"a constant channel has variance 0, and a single row keeps running_var finite",
     batch_norm_cases::constant_channel},
    {"outputs that are not wanted may be null, and the others stay the same", batch_norm_cases::wanted_alone},
    {"NaN in x reaches y and the running statistics", batch_norm_cases::nan},
};

}  // namespace retort::test
