// Softmax, cross-entropy and the distillation loss of the CUDA kernels against the double reference.
#include "kernels/loss.h"

#include <doctest/doctest.h>

#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::device_kernels;
using test::DeviceBuffer;

const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

/// Around every change of method: lanes of a warp, wide accesses, registers against memory.
constexpr std::int64_t kClasses[] = {1, 2, 3, 10, 31, 33, 100, 256, 257, 1000, 1023, 1024, 1025, 3000};

template <class T>
struct Batch {
  Rows rows;
  std::vector<T> z, v;
  std::vector<float> weight;
  std::vector<std::int64_t> labels, labels2;
  Batch(Rows r, double range) : rows(r) {
    z = test::as<T>(test::uniform(r.rows * r.classes, 1, -range, range));
    v = test::as<T>(test::uniform(r.rows * r.classes, 2, -range, range));
    weight = test::uniform(r.rows, 3, 0, 1);
    labels = test::integers<std::int64_t>(r.rows, 4, 0, static_cast<int>(r.classes) - 1);
    labels2 = test::integers<std::int64_t>(r.rows, 5, 0, static_cast<int>(r.classes) - 1);
  }
};

/// Bound on a sum of exponentials in float, relative: exp and its argument (up to `range` units) and a tree of sums, of
/// which a thread adds at most 32 elements before log2(32) steps over lanes, or classes / 256 and then 8.
double sum_noise(std::int64_t classes, double range) {
  return test::epsilon32 * (4 + range + static_cast<double>(classes > 1024 ? classes / 256 + 16 : 40));
}

}  // namespace

TEST_CASE("device softmax: forward and backward at every width") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t classes : kClasses)
      for (const double temperature : {0.5, 1.0, 20.0}) {
        CAPTURE(classes);
        CAPTURE(temperature);
        const Rows rows{9, classes};
        const Batch<T> batch(rows, 8);
        std::vector<double> y64(batch.z.size()), dx64(y64.size());
        oracle().softmax.forward({}, rows, temperature, test::wide(batch.z).data(), y64.data());
        const DeviceBuffer<T> x(batch.z), dy(batch.v), y(batch.z.size()), dx(batch.z.size());
        const SoftmaxKernels& device = device_kernels<T>().softmax;
        device.forward({}, rows, temperature, x.get(), y.get());
        const double noise = sum_noise(classes, 16 / temperature);
        CHECK(test::error_of(y.values(), y64, [&](std::size_t i) { return 2 * noise * y64[i]; }) <= 1);
        // Backward from the device's own y, so that its rounding is no part of this.
        oracle().softmax.backward({}, rows, temperature, test::wide(y.values()).data(), test::wide(batch.v).data(),
                                  dx64.data());
        device.backward({}, rows, temperature, y.get(), dy.get(), dx.get());
        const auto probabilities = test::wide(y.values());
        CHECK(test::error_of(dx.values(), dx64, [&](std::size_t i) {
                return (noise + 4 * test::epsilon32) * probabilities[i] * 32 / temperature;
              }) <= 1);
      }
  });
}

TEST_CASE("device distillation and cross-entropy: every width, convention and kind of target") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    struct Kind {
      DistillationSettings settings;
      bool mixup;
      double smoothing;
    };
    const Kind kinds[] = {{{4, 0.1, Convention::convex}, false, 0},  {{4, 0, Convention::convex}, false, 0},
                          {{1, 1, Convention::convex}, false, 0},    {{20, 0.5, Convention::convex}, true, 0.1},
                          {{3, 0.3, Convention::additive}, true, 0}, {{0.5, 0, Convention::additive}, false, 0}};
    for (const std::int64_t classes : kClasses)
      for (const Kind& kind : kinds) {
        const DistillationSettings& s = kind.settings;
        CAPTURE(classes);
        CAPTURE(s.temperature);
        CAPTURE(s.lambda);
        const double range = 8;
        const Rows rows{7, classes};
        const Batch<T> batch(rows, range);
        const auto z64 = test::wide(batch.z), v64 = test::wide(batch.v);
        std::vector<double> loss64(3), dz64(z64.size());
        const bool labelled = s.lambda > 0;
        HardTargets host;
        if (labelled)
          host = {batch.labels.data(), kind.mixup ? batch.labels2.data() : nullptr,
                  kind.mixup ? batch.weight.data() : nullptr, kind.smoothing};
        oracle().loss.distillation({}, rows, s, host, z64.data(), v64.data(), loss64.data(), dz64.data(), nullptr);

        const DeviceBuffer<T> z(batch.z), v(batch.v), dz(batch.z.size());
        const DeviceBuffer<std::int64_t> labels(batch.labels), labels2(batch.labels2);
        const DeviceBuffer<float> weight(batch.weight), loss(3);
        HardTargets there;
        if (labelled)
          there = {labels.get(), kind.mixup ? labels2.get() : nullptr, kind.mixup ? weight.get() : nullptr,
                   kind.smoothing};
        const LossKernels& device = device_kernels<T>().loss;
        const DeviceBuffer<char> workspace(device.workspace_bytes(rows));
        // lambda = 1 under convex reads no teacher.
        const bool taught = s.convention == Convention::additive || s.lambda < 1;
        device.distillation({}, rows, s, there, z.get(), taught ? v.get() : nullptr, loss.get(), dz.get(),
                            workspace.get());
        const double spread = 2 * range / s.temperature, noise = sum_noise(classes, spread),
                     hard_noise = sum_noise(classes, 2 * range);
        const bool convex = s.convention == Convention::convex;
        const double t2 = convex ? s.temperature * s.temperature : 1;
        const double soft_error = t2 * 4 * noise * (1 + spread + std::log(static_cast<double>(classes) + 1)),
                     hard_error = 4 * hard_noise * (1 + 2 * range + std::log(static_cast<double>(classes) + 1));
        const double bounds[] = {soft_error + hard_error, hard_error, soft_error};
        const std::vector<float> parts = loss.values();
        for (std::size_t i = 0; i < 3; ++i)
          CHECK_FALSE(!(std::fabs(parts[i] - loss64[i]) <= bounds[i] + test::epsilon32 * std::fabs(loss64[i])));
        const double soft_scale = convex ? (1 - s.lambda) * s.temperature : 1 / s.temperature;
        CHECK(test::error_of(dz.values(), dz64, [&](std::size_t) {
                return (4 * s.lambda * hard_noise + 4 * soft_scale * noise) / static_cast<double>(rows.rows);
              }) <= 1);
        device.distillation({}, rows, s, there, z.get(), taught ? v.get() : nullptr, loss.get(), nullptr,
                            workspace.get());
        CHECK(loss.values() == parts);
        if (!labelled) continue;
        oracle().loss.cross_entropy({}, rows, host, z64.data(), loss64.data(), dz64.data(), nullptr);
        device.cross_entropy({}, rows, there, z.get(), loss.get(), dz.get(), workspace.get());
        CHECK_FALSE(!(std::fabs(loss.values()[0] - loss64[0]) <= hard_error));
        CHECK(test::error_of(dz.values(), dz64,
                             [&](std::size_t) { return 4 * hard_noise / static_cast<double>(rows.rows); }) <= 1);
      }
  });
}

TEST_CASE("device losses: extreme logits stay finite, and the same bits come in every order of threads") {
  const Rows rows{20, 1000};
  Batch<float> batch(rows, 100);
  const DeviceBuffer<float> z(batch.z), v(batch.v), dz(batch.z.size()), loss(3);
  const DeviceBuffer<std::int64_t> labels(batch.labels);
  const LossKernels& device = device_kernels<float>().loss;
  const DeviceBuffer<char> workspace(device.workspace_bytes(rows));
  std::vector<float> first;
  test::for_each_order([&] {
    device.distillation({}, rows, {0.5, 0.2, Convention::convex}, {labels.get()}, z.get(), v.get(), loss.get(),
                        dz.get(), workspace.get());
    std::vector<float> all = loss.values();
    for (const float value : dz.values()) all.push_back(value);
    for (const float value : all) REQUIRE(std::isfinite(value));
    if (first.empty()) first = all;
    CHECK(all == first);
  });
}

TEST_CASE("device losses: a label out of range gives NaN, not another memory's contents") {
  for (const std::int64_t bad : {-1, 3, 1 << 30}) {
    const Rows rows{2, 3};
    const Batch<float> batch(rows, 1);
    const DeviceBuffer<float> z(batch.z), loss(1), dz(6);
    const DeviceBuffer<std::int64_t> labels(std::vector<std::int64_t>{0, bad});
    const LossKernels& device = device_kernels<float>().loss;
    const DeviceBuffer<char> workspace(device.workspace_bytes(rows));
    device.cross_entropy({}, rows, {labels.get()}, z.get(), loss.get(), dz.get(), workspace.get());
    CHECK(std::isnan(loss.values()[0]));
  }
}

}  // namespace retort
