// Optimizer steps over many parameters at once, clipping, and the search for what is not finite, on any backend.
#pragma once

#include <cmath>
#include <limits>
#include <memory>

#include "tests/cases/backend.h"

namespace retort::test {
namespace optimizer_cases {

/// Around vectors and a block's piece of 4096, and enough for several tasks.
inline constexpr std::int64_t kSizes[] = {1, 3, 8, 17, 31, 300, 4095, 4096, 4097, 20011};

/// More parameters than one launch takes, in double and on the backend.
struct Parameters {
  struct One {
    std::vector<double> w, g, m, v;
    Buffer<float> w_there, g_there, m_there, v_there;
    One(const Backend& backend, std::int64_t n, std::uint64_t seed)
        : w(wide(uniform(n, seed))),
          g(wide(uniform(n, seed + 1))),
          m(wide(uniform(n, seed + 2))),
          v(wide(uniform(n, seed + 3, 0.01, 1))),
          w_there(backend, as<float>(w)),
          g_there(backend, as<float>(g)),
          m_there(backend, as<float>(m)),
          v_there(backend, as<float>(v)) {}
  };
  std::vector<std::unique_ptr<One>> all;
  std::vector<ParameterStep> host, there;

  explicit Parameters(const Backend& backend) {
    for (std::uint64_t i = 0; i < 70; ++i) {
      const std::int64_t n = i < std::size(kSizes) ? kSizes[i] : static_cast<std::int64_t>(i);
      One& one = *all.emplace_back(std::make_unique<One>(backend, n, 10 * i + 1));
      host.push_back({n, one.w.data(), one.g.data(), one.m.data(), one.v.data()});
      there.push_back({n, one.w_there.get(), one.g_there.get(), one.m_there.get(), one.v_there.get()});
    }
  }
  std::int64_t count() const {
    std::int64_t sum = 0;
    for (const ParameterStep& one : host) sum += one.n;
    return sum;
  }
};

/// Optimizers work on parameters, which are f32.
template <class Check>
void for_each_mode_of(const Backend& backend, const Check& check) {
  CAPTURE(backend.name);
  for_each_mode(backend, [&](const Mode& mode) { check(mode, backend.f32->optimizer); });
}

inline void sgd(const Backend& backend) {
  constexpr SgdSettings kSettings[] = {
      {0, 0, false}, {0, 0.1, false}, {0.9, 0, false}, {0.9, 5e-4, false}, {0.9, 0.1, true}};
  SameBits same[std::size(kSettings)][2];
  for_each_mode_of(backend, [&](const Mode& mode, const OptimizerKernels& kernel) {
    for (std::size_t k = 0; k < std::size(kSettings); ++k)
      for (const std::int64_t step : {1, 2}) {
        if (!mode.affords(k == 4 ? Work::little : Work::usual)) continue;
        const SgdSettings& settings = kSettings[k];
        CAPTURE(settings.momentum);
        CAPTURE(settings.weight_decay);
        CAPTURE(step);
        Parameters p(backend);
        const std::vector<std::unique_ptr<Parameters::One>>& all = p.all;
        std::vector<std::vector<double>> w_before, m_before;
        for (const auto& one : all) w_before.push_back(one->w), m_before.push_back(one->m);
        // On the first step m holds nothing yet and must not be read; without momentum there is none.
        std::vector<std::unique_ptr<Buffer<float>>> nothing;
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (step == 1) {
            nothing.push_back(std::make_unique<Buffer<float>>(backend, all[i]->m.size()));
            p.there[i].m = nothing[i]->get();
            all[i]->m = blank<double>(std::ssize(all[i]->m));
            p.host[i].m = all[i]->m.data();
          }
          if (settings.momentum == 0) p.host[i].m = p.there[i].m = nullptr;
        }
        const StepScalars scalars = {.lr = 0.05, .grad_scale = 0.3, .step = step};
        const Buffer<StepScalars> scalars_there(backend, std::vector<StepScalars>{scalars});
        kernel.sgd({}, p.there, settings, scalars_there.get());
        oracle().optimizer.sgd({}, p.host, settings, &scalars);
        SameBits::Results results;
        for (std::size_t i = 0; i < all.size(); ++i) {
          const Parameters::One& one = *all[i];
          // Sums of three products, each with a rounded coefficient.
          const auto velocity = [&](std::size_t j) {
            return std::fabs(0.3 * one.g[j]) + std::fabs(settings.weight_decay * w_before[i][j]) +
                   (step == 1 ? 0 : std::fabs(settings.momentum * m_before[i][j]));
          };
          results.push_back(one.w_there.wide());
          CHECK(worst(results.back(), one.w, [&](std::size_t j) {
                  return epsilon32 *
                         (std::fabs(w_before[i][j]) + 4 * scalars.lr * (1 + settings.momentum) * velocity(j));
                }) <= 1);
          if (settings.momentum == 0) continue;
          results.push_back((step == 1 ? *nothing[i] : one.m_there).wide());
          CHECK(worst(results.back(), one.m, [&](std::size_t j) { return 3 * epsilon32 * velocity(j); }) <= 1);
        }
        same[k][step - 1].check(mode, results);
      }
  });
}

inline void adam(const Backend& backend) {
  for_each_mode_of(backend, [&](const Mode& mode, const OptimizerKernels& kernel) {
    for (const bool decoupled : {false, true})
      for (const std::int64_t step : {1, 2, 3, 10, 100, 1000, 100000}) {
        if (!mode.affords(step == 1000 ? Work::little : Work::usual)) continue;
        CAPTURE(decoupled);
        CAPTURE(step);
        const AdamSettings settings = {.weight_decay = 0.02, .decoupled = decoupled};
        const StepScalars scalars = {.lr = 1e-3, .grad_scale = 0.5, .step = step};
        const Buffer<StepScalars> scalars_there(backend, std::vector<StepScalars>{scalars});
        Parameters p(backend);
        std::vector<std::vector<double>> w_before, m_before;
        for (const auto& one : p.all) w_before.push_back(one->w), m_before.push_back(one->m);
        kernel.adam({}, p.there, settings, scalars_there.get());
        oracle().optimizer.adam({}, p.host, settings, &scalars);
        const double t = static_cast<double>(step), correction1 = 1 - std::pow(0.9, t),
                     correction2 = 1 - std::pow(0.999, t);
        for (std::size_t i = 0; i < p.all.size(); ++i) {
          const Parameters::One& one = *p.all[i];
          const auto gradient = [&](std::size_t j) {
            return 0.5 * std::fabs(one.g[j]) + (decoupled ? 0 : 0.02 * std::fabs(w_before[i][j]));
          };
          const auto first = [&](std::size_t j) { return 0.9 * std::fabs(m_before[i][j]) + 0.1 * gradient(j); };
          CHECK(worst(one.m_there.values(), one.m, [&](std::size_t j) { return 3 * epsilon32 * first(j); }) <= 1);
          CHECK(worst(one.v_there.values(), one.v, [&](std::size_t j) {
                  return 4 * epsilon32 * (one.v[j] + 1e-3 * gradient(j) * gradient(j));
                }) <= 1);
          CHECK(worst(one.w_there.values(), one.w, [&](std::size_t j) {
                  const double moved = 1e-3 * first(j) / correction1 / (std::sqrt(one.v[j] / correction2) + 1e-8);
                  return epsilon32 * (std::fabs(w_before[i][j]) + 12 * moved);
                }) <= 1);
        }
      }
  });
}

/// 1 - 1e-7 rounds to 1 - 1.19e-7 in float: a fifth too much, for every weight, at every step.
inline void small_decay(const Backend& backend) {
  const AdamSettings settings = {.weight_decay = 1e-3, .decoupled = true};
  const Buffer<StepScalars> scalars(backend, std::vector<StepScalars>{{.lr = 1e-4, .step = 1}});
  const std::vector<float> before = uniform(10000, 5, 1, 2), zeros(before.size());
  for_each_mode_of(backend, [&](const Mode&, const OptimizerKernels& kernel) {
    const Buffer<float> w(backend, before), g(backend, zeros), m(backend, zeros), v(backend, zeros);
    const ParameterStep one = {std::ssize(before), w.get(), g.get(), m.get(), v.get()};
    kernel.adam({}, {&one, 1}, settings, scalars.get());
    const std::vector<float> after = w.values();
    std::vector<double> expected;
    for (const float value : before) expected.push_back(value * (1 - 1e-7));
    CHECK(worst(after, expected, [&](std::size_t i) { return epsilon32 / 2 * before[i]; }) <= 1);
  });
}

inline void clip(const Backend& backend) {
  Parameters p(backend);
  StepScalars scalars;
  double expected = 0;
  oracle().optimizer.clip({}, p.host, 1e9, &scalars, &expected, nullptr);
  CHECK(scalars.grad_scale == 1);
  const std::vector<ParameterStep> there = p.there;
  SameBits same;
  for_each_mode_of(backend, [&](const Mode& mode, const OptimizerKernels& kernel) {
    std::vector<double> norms;
    // All parameters, and the first few alone: a short sum.
    for (const std::size_t count : {there.size(), std::size_t{1}, std::size_t{2}, std::size_t{4}})
      for (const double max_norm : {0.5, 1e9}) {
        const std::vector<ParameterStep> some(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(count));
        const std::vector<ParameterStep> some_host(p.host.begin(), p.host.begin() + static_cast<std::ptrdiff_t>(count));
        double wanted = 0;
        oracle().optimizer.clip({}, some_host, max_norm, &scalars, &wanted, nullptr);
        const Buffer<StepScalars> out(backend, std::vector<StepScalars>{StepScalars{}});
        const Buffer<double> norm(backend, 1);
        const Buffer<char> workspace(backend, kernel.workspace_bytes(some));
        kernel.clip({}, some, max_norm, out.get(), norm.get(), workspace.get());
        const double found = norm.values()[0];
        CHECK(std::fabs(found - wanted) <= static_cast<double>(p.count() + 2) * epsilon64 * wanted);
        CHECK(out.values()[0].grad_scale == (found > max_norm ? max_norm / found : 1));
        norms.push_back(found);
      }
    same.check(mode, {norms});
  });
}

inline void find_not_finite(const Backend& backend) {
  for_each_mode_of(backend, [&](const Mode&, const OptimizerKernels& kernel) {
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double bad : {infinity, -infinity, std::nan("")}) {
      Parameters p(backend);
      std::vector<std::unique_ptr<Buffer<float>>> spoilt;
      const auto search = [&] {
        const Buffer<std::int32_t> index(backend, 1);
        const Buffer<char> workspace(backend, kernel.workspace_bytes(p.there));
        kernel.find_not_finite({}, p.there, index.get(), workspace.get());
        std::int32_t expected = 7;
        oracle().optimizer.find_not_finite({}, p.host, &expected, nullptr);
        CHECK(index.values()[0] == expected);
        return expected;
      };
      const auto spoil = [&](std::size_t parameter, std::size_t element) {
        p.all[parameter]->w[element] = bad;
        spoilt.push_back(std::make_unique<Buffer<float>>(backend, as<float>(p.all[parameter]->w)));
        p.there[parameter].w = spoilt.back()->get();
      };
      CHECK(search() == -1);
      spoil(69, 68);
      CHECK(search() == 69);
      spoil(9, 20010);
      CHECK(search() == 9);
      spoil(8, 4096);
      CHECK(search() == 8);
    }
  });
}

}  // namespace optimizer_cases

inline const std::vector<Case> kOptimizerCases = {
    {"sgd: one step equals the oracle's", optimizer_cases::sgd},
    {"adam and adamw: one step equals the oracle's", optimizer_cases::adam},
    {"adamw: a decay below a weight's rounding unit is not rounded away from the factor first",
     optimizer_cases::small_decay},
    {"clip: the norm over all parameters, and the scale that follows", optimizer_cases::clip},
    {"find_not_finite: the first of the bad parameters, or none", optimizer_cases::find_not_finite},
};

}  // namespace retort::test
