// Every step of the ladder against the double reference.
#include "kernels/cuda/ladder/ladder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::DeviceBuffer;

#ifdef RETORT_CUDA
#define RETORT_LADDER(function) (test::device_under_test() == Device::cuda ? cuda::function : simt::function)
#else
#define RETORT_LADDER(function) (simt::function)
#endif

struct Case {
  const char* name;
  Conv2dGeometry geometry;
};

const Case kConvolutions[] = {
    {"one pixel, one channel", {}},
    {"1x1", {.n = 2, .h = 5, .w = 7, .c = 17, .k = 9}},
    {"1x1, stride 2", {.n = 2, .h = 7, .w = 6, .c = 16, .k = 24, .stride_h = 2, .stride_w = 2}},
    {"3x3, four channels a load", {.n = 1, .h = 6, .w = 5, .c = 8, .k = 16, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3, odd channels", {.n = 2, .h = 5, .w = 4, .c = 5, .k = 17, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"loads of four in x alone", {.n = 1, .h = 4, .w = 4, .c = 8, .k = 6, .r = 2, .s = 2}},
    {"stem 7x7",
     {.n = 1, .h = 9, .w = 10, .c = 3, .k = 8, .r = 7, .s = 7, .stride_h = 2, .stride_w = 2, .pad_h = 3, .pad_w = 3}},
    {"1x7", {.n = 1, .h = 3, .w = 9, .c = 8, .k = 12, .r = 1, .s = 7, .pad_w = 3}},
    {"dilated, strided, asymmetric",
     {.n = 2,
      .h = 13,
      .w = 8,
      .c = 4,
      .k = 6,
      .r = 3,
      .s = 2,
      .stride_h = 2,
      .pad_h = 3,
      .pad_w = 1,
      .dilation_h = 3,
      .dilation_w = 2}},
    {"two groups", {.n = 2, .h = 4, .w = 5, .c = 16, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 2}},
    {"depthwise", {.n = 1, .h = 5, .w = 6, .c = 10, .k = 10, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 10}},
    {"image smaller than the filter", {.n = 2, .h = 2, .w = 3, .c = 4, .k = 5, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"padding wider than the image", {.n = 1, .c = 3, .k = 4, .r = 3, .s = 3, .pad_h = 3, .pad_w = 3}},
    {"several tiles each way", {.n = 1, .h = 12, .w = 13, .c = 4, .k = 132, .r = 2, .s = 2, .pad_h = 1, .pad_w = 1}},
};

/// y of one step, f32 or bf16, with and without an epilogue; small integers, so that every order of sums is exact.
template <class T>
void check_convolution(const LadderStep& step, const Conv2dGeometry& g) {
  const auto x = test::integers<float>(g.n * g.h * g.w * g.c, 1, -3, 3),
             w = test::integers<float>(g.r * g.s * g.c_per_group() * g.k, 2, -3, 3),
             scale = test::integers<float>(g.k, 3, -2, 2), bias = test::integers<float>(g.k, 4, -9, 9),
             residual = test::integers<float>(g.n * g.p() * g.q() * g.k, 5, -9, 9);
  const auto outputs = residual.size();
  const DeviceBuffer<T> x_there(test::as<T>(x)), w_there(test::as<T>(w)),
      residual_there(test::as<T>(residual));
  const DeviceBuffer<float> scale_there(scale), bias_there(bias);
  const DeviceBuffer<char> workspace(step.table.conv2d.workspace_bytes(ConvPass::fprop, g));
  for (const bool finish : {false, true}) {
    CAPTURE(finish);
    std::vector<double> expected(outputs);
    const auto wide_scale = test::widen(scale), wide_bias = test::widen(bias), wide_residual = test::widen(residual);
    const ConvEpilogue wide = {wide_scale.data(), wide_bias.data(), wide_residual.data(), true},
                       there = {scale_there.get(), bias_there.get(), residual_there.get(), true};
    kernels_for(Device::reference, DType::f64)
        .conv2d.fprop({}, g, test::widen(x).data(), test::widen(w).data(), finish ? wide : ConvEpilogue{},
                      expected.data(), nullptr);
    for (double& value : expected) value = double{float(T(static_cast<float>(value)))};
    const DeviceBuffer<T> y(outputs);
    step.table.conv2d.fprop({}, g, x_there.get(), w_there.get(), finish ? there : ConvEpilogue{}, y.get(),
                            workspace.get());
    CHECK(test::count_different(test::wide(y.values()), expected) == 0);
  }
}

void check_convolutions(std::initializer_list<std::size_t> which) {
  for (const LadderStep& step : RETORT_LADDER(conv2d_fprop_ladder)())
    for (const std::size_t i : which) {
      CAPTURE(std::string(step.name));
      CAPTURE(std::string(kConvolutions[i].name));
      if (step.dtype == DType::bf16)
        check_convolution<BFloat16>(step, kConvolutions[i].geometry);
      else
        check_convolution<float>(step, kConvolutions[i].geometry);
    }
}

/// Rows on both sides of what a warp, a block and a row of registers hold.
const Rows kRows[] = {{1, 1}, {3, 2}, {9, 10}, {130, 7}, {5, 32}, {4, 33}, {2, 257}, {3, 1000}, {2, 1025}};

void check_softmax(const LadderStep& step, Rows rows, double range, double temperature) {
  CAPTURE(std::string(step.name));
  CAPTURE(rows.rows);
  CAPTURE(rows.classes);
  CAPTURE(temperature);
  const auto x = test::uniform(rows.rows * rows.classes, 1, -range, range);
  std::vector<double> expected(x.size());
  kernels_for(Device::reference, DType::f64)
      .softmax.forward({}, rows, temperature, test::widen(x).data(), expected.data());
  const DeviceBuffer<float> x_there(x), y(x.size());
  step.table.softmax.forward({}, rows, temperature, x_there.get(), y.get());
  // An exponent, at most `largest`, carries three roundings; exp is good to two units. So are the sum's terms, which
  // see as many roundings as there are classes; then come one or two for the division.
  const double largest = 2 * range / temperature;
  const double bound = test::epsilon32 * (2 * (1.5 * largest + 2) + static_cast<double>(rows.classes) / 2 + 2);
  CHECK(test::worst(y.values(), expected,
                    [&](std::size_t i) { return bound * expected[i] + std::numeric_limits<float>::min(); }) <= 1);
}

struct Batch {
  Rows rows;
  double range;
  std::vector<float> z, v, weight;
  std::vector<std::int64_t> labels, labels2;

  Batch(Rows r, double reach)
      : rows(r),
        range(reach),
        z(test::uniform(r.rows * r.classes, 1, -reach, reach)),
        v(test::uniform(r.rows * r.classes, 2, -reach, reach)),
        weight(test::uniform(r.rows, 3, 0, 1)),
        labels(test::integers<std::int64_t>(r.rows, 4, 0, static_cast<int>(r.classes) - 1)),
        labels2(test::integers<std::int64_t>(r.rows, 5, 0, static_cast<int>(r.classes) - 1)) {}
};

struct LossCase {
  DistillationSettings settings;
  bool mixup;
  double smoothing;
};

const LossCase kLosses[] = {
    {{2, 0.3, Convention::convex}, true, 0.1},    {{4, 0.5, Convention::additive}, false, 0},
    {{0.5, 0, Convention::convex}, false, 0},     {{1, 1, Convention::convex}, false, 0.1},
    {{3, 0.7, Convention::additive}, true, 0.05},
};

/// Losses and gradient of one step, labels or teacher left out where their weight is 0.
void check_loss(const LadderStep& step, const Batch& batch, const LossCase& loss_case) {
  const DistillationSettings& settings = loss_case.settings;
  const bool mixup = loss_case.mixup;
  const double smoothing = loss_case.smoothing, range = batch.range;
  const Rows rows = batch.rows;
  const std::vector<float>&z = batch.z, &v = batch.v, &weight = batch.weight;
  const std::vector<std::int64_t>&labels = batch.labels, &labels2 = batch.labels2;
  CAPTURE(std::string(step.name));
  CAPTURE(rows.rows);
  CAPTURE(rows.classes);
  CAPTURE(settings.temperature);
  CAPTURE(settings.lambda);
  const bool convex = settings.convention == Convention::convex, hard = settings.lambda != 0;
  const bool soft = !convex || settings.lambda != 1;
  const auto z64 = test::widen(z), v64 = test::widen(v);
  const KernelTable& oracle = kernels_for(Device::reference, DType::f64);
  std::vector<double> losses(3), gradient(z.size()), s(z.size()), q(z.size()), p(z.size());
  const HardTargets targets{labels.data(), mixup ? labels2.data() : nullptr, mixup ? weight.data() : nullptr,
                            smoothing};
  oracle.loss.distillation({}, rows, settings, targets, z64.data(), v64.data(), losses.data(), gradient.data(),
                           nullptr);
  oracle.softmax.forward({}, rows, 1, z64.data(), s.data());
  oracle.softmax.forward({}, rows, settings.temperature, z64.data(), q.data());
  oracle.softmax.forward({}, rows, settings.temperature, v64.data(), p.data());

  const DeviceBuffer<float> z_there(z), v_there(v), weight_there(weight), loss(3), loss_alone(3), dz(z.size());
  const DeviceBuffer<std::int64_t> labels_there(labels), labels2_there(labels2);
  const DeviceBuffer<char> workspace(step.table.loss.workspace_bytes(rows));
  const HardTargets there{hard ? labels_there.get() : nullptr, hard && mixup ? labels2_there.get() : nullptr,
                          hard && mixup ? weight_there.get() : nullptr, smoothing};
  const auto run = [&](float* losses_there, float* gradient_there) {
    step.table.loss.distillation({}, rows, settings, there, z_there.get(), soft ? v_there.get() : nullptr, losses_there,
                                 gradient_there, workspace.get());
  };
  run(loss.get(), dz.get());
  run(loss_alone.get(), nullptr);

  // `roundings` bounds those of an exponent and of a sum over the classes, `logarithm` the size of a log-softmax. A
  // row's loss is a sum of probability times logarithm, both with such errors, for each of two distributions.
  const double t = settings.temperature, exponent = 2 * range * std::max(1.0, 1 / t);
  const double roundings = 1.5 * exponent + static_cast<double>(rows.classes) / 2 + 16, logarithm = exponent + 8;
  const double allowed = 4 * test::epsilon32 * roundings * logarithm * std::max(1.0, t * t);
  CHECK(test::worst(loss.values(), losses, [&](std::size_t) { return allowed; }) <= 1);
  CHECK(loss_alone.values() == loss.values());
  // The gradient is a difference of probabilities, each with a relative error; the target, at most what is left over
  // of the result, too.
  const double soft_scale = convex ? (1 - settings.lambda) * t : 1 / t;
  CHECK(test::worst(dz.values(), gradient, [&](std::size_t i) {
          const double sizes = settings.lambda * s[i] + soft_scale * (q[i] + p[i]);
          return 4 * test::epsilon32 * roundings *
                     (std::fabs(gradient[i]) + 2 * sizes / static_cast<double>(rows.rows)) +
                 std::numeric_limits<float>::min();
        }) <= 1);
}

}  // namespace

TEST_CASE("ladder: steps have names of their own, by which they are found") {
  std::set<std::string> names;
  for (const auto& ladder : {simt::conv2d_fprop_ladder(), simt::softmax_ladder(), simt::loss_ladder()}) {
    REQUIRE(ladder.size() > 1);
    for (std::size_t i = 0; i < ladder.size(); ++i) {
      const std::string name = ladder[i].name;
      CHECK(names.insert(name).second);
      CHECK(name.find("." + std::to_string(i + 1) + "_") != std::string::npos);
      CHECK(ladder[i].table.name == name);
      CHECK(simt::find_ladder_step(name) == &ladder[i]);
    }
  }
  CHECK(simt::find_ladder_step("conv2d") == nullptr);
}

TEST_CASE("ladder: small integers are convolved exactly by every step, in every order of threads") {
  check_convolutions({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13});
  test::for_each_order([] { check_convolutions({4, 3, 9}); });
}

TEST_CASE("ladder: softmax within the bound of its roundings, in every order of threads") {
  test::for_each_order([] {
    for (const LadderStep& step : RETORT_LADDER(softmax_ladder)())
      for (const Rows rows : kRows) {
        check_softmax(step, rows, 8, 1);
        check_softmax(step, rows, 30, 4);
      }
  });
}

TEST_CASE("ladder: the distillation loss within the bound of its roundings, in every order of threads") {
  for (const LadderStep& step : RETORT_LADDER(loss_ladder)())
    for (const Rows rows : kRows)
      for (const LossCase& loss : kLosses) check_loss(step, Batch(rows, 6), loss);
  test::for_each_order([] {
    for (const LadderStep& step : RETORT_LADDER(loss_ladder)())
      for (const Rows rows : {kRows[2], kRows[6]}) check_loss(step, Batch(rows, 20), kLosses[0]);
  });
}

TEST_CASE("ladder: a label that is no class makes the loss NaN at every step") {
  const Rows rows{2, 10};
  const DeviceBuffer<float> z(test::uniform(20, 1)), v(test::uniform(20, 2)), loss(3), dz(20);
  const DeviceBuffer<std::int64_t> labels(std::vector<std::int64_t>{3, 10});
  for (const LadderStep& step : RETORT_LADDER(loss_ladder)()) {
    CAPTURE(std::string(step.name));
    const DeviceBuffer<char> workspace(step.table.loss.workspace_bytes(rows));
    step.table.loss.distillation({}, rows, {.temperature = 2, .lambda = 0.5}, {.labels = labels.get()}, z.get(),
                                 v.get(), loss.get(), dz.get(), workspace.get());
    CHECK(std::isnan(loss.values()[1]));
    CHECK(std::isfinite(loss.values()[2]));
  }
}

}  // namespace retort
