// Optimizer steps of the CUDA kernels, over many parameters at once, against the double reference.
#include "kernels/optimizer.h"

#include <doctest/doctest.h>

#include <memory>

#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::DeviceBuffer;

const OptimizerKernels& device() { return test::device_kernels<float>().optimizer; }
const OptimizerKernels& oracle() { return kernels_for(Device::reference, DType::f64).optimizer; }

/// More parameters than one launch takes, of lengths around a block's piece.
struct Parameters {
  std::vector<std::vector<double>> w, g, m, v;
  std::vector<std::unique_ptr<DeviceBuffer<float>>> dw, dg, dm, dv;
  std::vector<ParameterStep> host, there;

  Parameters() {
    constexpr std::int64_t kSizes[] = {1, 17, 4095, 4096, 4097, 300};
    for (std::uint64_t i = 0; i < 70; ++i) {
      const std::int64_t n = i < 6 ? kSizes[i] : static_cast<std::int64_t>(i);
      const auto add = [&](auto& values, auto& buffers, std::uint64_t seed, double low) {
        const std::vector<float> drawn = test::uniform(n, 10 * i + seed, low, 1);
        values.push_back(test::widen(drawn));
        buffers.push_back(std::make_unique<DeviceBuffer<float>>(drawn));
      };
      add(w, dw, 1, -1);
      add(g, dg, 2, -1);
      add(m, dm, 3, -1);
      add(v, dv, 4, 0.01);
    }
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::int64_t n = static_cast<std::int64_t>(w[i].size());
      host.push_back({n, w[i].data(), g[i].data(), m[i].data(), v[i].data()});
      there.push_back({n, dw[i]->get(), dg[i]->get(), dm[i]->get(), dv[i]->get()});
    }
  }
  /// The largest distance of what a step wrote, against `roundings` units in numbers of about 1.
  double error(double roundings) const {
    double worst = 0;
    for (std::size_t i = 0; i < w.size(); ++i)
      for (const auto& [found, expected] :
           {std::pair{dw[i]->values(), &w[i]}, {dm[i]->values(), &m[i]}, {dv[i]->values(), &v[i]}})
        worst =
            std::max(worst, test::worst(found, *expected, [&](std::size_t) { return roundings * test::epsilon32; }));
    return worst;
  }
};

}  // namespace

TEST_CASE("device sgd: one launch after another equals the oracle's step") {
  for (const SgdSettings& settings : {SgdSettings{0, 0.1, false}, {0.9, 5e-4, false}, {0.9, 0.1, true}})
    for (const std::int64_t step : {1, 2}) {
      Parameters p;
      const StepScalars scalars{.lr = 0.05, .grad_scale = 0.3, .step = step};
      const DeviceBuffer<StepScalars> there({scalars});
      oracle().sgd({}, p.host, settings, &scalars);
      device().sgd({}, p.there, settings, there.get());
      // Sums of three products of numbers below 1, velocity below 3.
      CHECK(p.error(8) <= 1);
    }
}

TEST_CASE("device adam and adamw: one step equals the oracle's") {
  for (const bool decoupled : {false, true})
    for (const std::int64_t step : {1, 1000}) {
      Parameters p;
      const AdamSettings settings{.weight_decay = 0.02, .decoupled = decoupled};
      const StepScalars scalars{.lr = 1e-3, .grad_scale = 0.5, .step = step};
      const DeviceBuffer<StepScalars> there({scalars});
      oracle().adam({}, p.host, settings, &scalars);
      device().adam({}, p.there, settings, there.get());
      // The step m / sqrt(v) is at most 1e-3 * 10 / 0.003 of a weight at step 1: a few roundings of that, and of w, m,
      // v.
      CHECK(p.error(64) <= 1);
    }
}

TEST_CASE("device clip: the norm over all parameters and the scale that follows") {
  const Parameters p;
  StepScalars scalars;
  double expected = 0;
  oracle().clip({}, p.host, 0.5, &scalars, &expected, nullptr);
  test::for_each_order([&] {
    const DeviceBuffer<StepScalars> there({StepScalars{}});
    const DeviceBuffer<double> norm(std::vector<double>{0});
    const DeviceBuffer<char> workspace(device().workspace_bytes(p.there));
    device().clip({}, p.there, 0.5, there.get(), norm.get(), workspace.get());
    CHECK(std::fabs(norm.values()[0] - expected) <= 1e5 * test::epsilon64 * expected);
    CHECK(there.values()[0].grad_scale == 0.5 / norm.values()[0]);
    device().clip({}, p.there, 1e9, there.get(), norm.get(), workspace.get());
    CHECK(there.values()[0].grad_scale == 1);
  });
}

TEST_CASE("device find_not_finite: the first of the bad parameters, or none") {
  Parameters p;
  const DeviceBuffer<char> workspace(device().workspace_bytes(p.there));
  const DeviceBuffer<std::int32_t> index(1);
  const auto search = [&] {
    device().find_not_finite({}, p.there, index.get(), workspace.get());
    return index.values()[0];
  };
  CHECK(search() == -1);
  const auto spoil = [&](std::size_t parameter, std::size_t element, float value) {
    std::vector<float> w = p.dw[parameter]->values();
    w[element] = value;
    p.dw[parameter] = std::make_unique<DeviceBuffer<float>>(w);
    p.there[parameter].w = p.dw[parameter]->get();
  };
  spoil(69, 68, std::nanf(""));
  CHECK(search() == 69);
  spoil(4, 4096, -std::numeric_limits<float>::infinity());
  CHECK(search() == 4);
}

}  // namespace retort
