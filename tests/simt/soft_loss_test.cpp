// The soft terms beside plain KD on the device against the double reference, whose gradients finite differences check
// (tests/kernels/soft_loss_test.cpp).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/loss.h"
#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::device_kernels;
using test::DeviceBuffer;

const LossKernels& oracle() { return kernels_for(Device::reference, DType::f64).loss; }

constexpr SoftLoss kAll[] = {SoftLoss::kd,   SoftLoss::mse, SoftLoss::dkd, SoftLoss::nkd,
                             SoftLoss::dist, SoftLoss::ttm, SoftLoss::wttm};

/// One batch of logits, on the host and on the device.
template <class T>
struct Batch {
  Rows rows;
  double range;
  std::vector<T> z, v;
  std::vector<std::int64_t> labels;
  DeviceBuffer<T> z_there, v_there;
  DeviceBuffer<std::int64_t> labels_there;
  Batch(Rows r, double largest, std::uint64_t seed = 0)
      : rows(r),
        range(largest),
        z(test::as<T>(test::uniform(r.rows * r.classes, 3 * seed + 1, -range, range))),
        v(test::as<T>(test::uniform(r.rows * r.classes, 3 * seed + 2, -range, range))),
        labels(test::integers<std::int64_t>(r.rows, 3 * seed + 3, 0, static_cast<int>(r.classes) - 1)),
        z_there(z),
        v_there(v),
        labels_there(labels) {}
};

template <class T>
struct Result {
  std::vector<float> loss;
  std::vector<T> dz;
  bool operator==(const Result& other) const { return loss == other.loss && test::wide(dz) == test::wide(other.dz); }
};

template <class T>
Result<T> run_device(const Batch<T>& batch, const DistillationSettings& settings, bool gradient = true) {
  const LossKernels& kernels = device_kernels<T>().loss;
  const DeviceBuffer<T> dz(batch.z.size());
  const DeviceBuffer<float> loss(3);
  const DeviceBuffer<char> workspace(kernels.workspace_bytes(batch.rows));
  kernels.distillation({}, batch.rows, settings, {batch.labels_there.get()}, batch.z_there.get(), batch.v_there.get(),
                       loss.get(), gradient ? dz.get() : nullptr, workspace.get());
  return {loss.values(), dz.values()};
}

struct Expected {
  std::vector<double> loss, dz;
};

template <class T>
Expected run_oracle(const Batch<T>& batch, const DistillationSettings& settings) {
  Expected result{test::blank<double>(3), test::blank<double>(batch.rows.rows * batch.rows.classes)};
  const auto z = test::wide(batch.z), v = test::wide(batch.v);
  oracle().distillation({}, batch.rows, settings, {batch.labels.data()}, z.data(), v.data(), result.loss.data(),
                        result.dz.data(), nullptr);
  return result;
}

/// Bound on a sum of exponentials in float, relative, as in loss_test.cpp; `spread` bounds their arguments.
double sum_noise(std::int64_t classes, double spread) {
  return test::epsilon32 * (4 + spread + static_cast<double>(classes > 1024 ? classes / 256 + 16 : 40));
}

/// Mean and standard deviation of a row, in double.
struct Moments {
  double mean = 0, deviation = 0;
  Moments(const double* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i) deviation += (x[i] - mean) * (x[i] - mean);
    deviation = std::sqrt(deviation / static_cast<double>(n - 1));
  }
};

/// How far off a soft term in float may be: its value, and each element of its gradient.
struct Bounds {
  double loss = 0;
  std::vector<double> dz;
};

/// DIST in double: what divides by what. Rounding p and q by a relative eta moves a correlation by eta (|p| / |p -
/// mean| + |q| / |q - mean|), norms over the row or the column, and its gradient by as much of the gradient's own
/// largest element, 1 / |q - mean|.
Bounds dist_bounds(Rows rows, double temperature, const std::vector<double>& z, const std::vector<double>& v,
                   double eta) {
  std::vector<double> p(z.size()), q(z.size());
  const SoftmaxKernels& softmax = kernels_for(Device::reference, DType::f64).softmax;
  softmax.forward({}, rows, temperature, v.data(), p.data());
  softmax.forward({}, rows, temperature, z.data(), q.data());
  struct Line {
    double loss, slope;
  };
  const auto line = [&](std::int64_t begin, std::int64_t stride, std::int64_t n) {
    const auto ratio = [&](const std::vector<double>& x, double* norm) {
      double mean = 0, square = 0, centred = kPearsonFloor;
      for (std::int64_t i = 0; i < n; ++i) mean += x[begin + i * stride] / static_cast<double>(n);
      for (std::int64_t i = 0; i < n; ++i) {
        const double value = x[begin + i * stride];
        square += value * value;
        centred += (value - mean) * (value - mean);
      }
      *norm = std::sqrt(centred);
      return std::sqrt(square / centred);
    };
    double norm_p = 0, norm_q = 0;
    const double lost = eta * (ratio(p, &norm_p) + ratio(q, &norm_q));
    return Line{2 * lost, 4 * lost / norm_q};
  };
  Bounds bounds{0, std::vector<double>(z.size())};
  std::vector<Line> of_rows, of_classes;
  for (std::int64_t i = 0; i < rows.rows; ++i) of_rows.push_back(line(i * rows.classes, 1, rows.classes));
  for (std::int64_t j = 0; j < rows.classes; ++j) of_classes.push_back(line(j, rows.classes, rows.rows));
  for (const Line& row : of_rows) bounds.loss += row.loss / static_cast<double>(rows.rows);
  for (const Line& column : of_classes) bounds.loss += column.loss / static_cast<double>(rows.classes);
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    double largest = 0;
    for (const Line& column : of_classes)
      largest = std::max(largest, of_rows[i].slope / static_cast<double>(rows.rows) +
                                      column.slope / static_cast<double>(rows.classes));
    // q_i (g_i - sum_j q_j g_j) / T: the error of both g, and of q twice.
    for (std::int64_t k = i * rows.classes; k < (i + 1) * rows.classes; ++k)
      bounds.dz[k] = 4 * q[k] * largest / temperature;
  }
  return bounds;
}

template <class T>
Bounds soft_bounds(const Batch<T>& batch, const DistillationSettings& s) {
  const Rows rows = batch.rows;
  const auto classes = static_cast<double>(rows.classes), n = static_cast<double>(rows.rows);
  auto z = test::wide(batch.z), v = test::wide(batch.v);
  double range = batch.range, lost = 0, steep = 1;
  if (s.standardize) {
    // Deviation and mean carry a sum's noise, relative to the largest logit; seen logits carry that over the deviation.
    double narrowest = std::numeric_limits<double>::infinity();
    range = 0;
    for (auto* net : {&z, &v})
      for (std::int64_t row = 0; row < rows.rows; ++row) {
        double* const x = net->data() + row * rows.classes;
        const Moments moments(x, rows.classes);
        narrowest = std::min(narrowest, moments.deviation);
        for (std::int64_t i = 0; i < rows.classes; ++i) {
          x[i] = (x[i] - moments.mean) / (moments.deviation + kStandardFloor);
          range = std::max(range, std::fabs(x[i]));
        }
      }
    lost = 2 * sum_noise(rows.classes, 0) * (2 * batch.range / narrowest + range);
    steep = 3 / narrowest;  // of the gradient: g / k, and what is pulled off, at most twice as much
  }
  const double t = s.temperature, sharp = s.loss == SoftLoss::ttm || s.loss == SoftLoss::wttm || s.loss == SoftLoss::nkd
                                              ? std::min(t, 1.0)
                                              : t;
  const double spread = 2 * range / sharp, noise = sum_noise(rows.classes, spread) + lost / sharp;
  if (s.loss == SoftLoss::dist) {
    Bounds bounds = dist_bounds(rows, t, z, v, 2 * noise);
    for (double& bound : bounds.dz) bound *= steep * (s.standardize ? classes : 1);
    return bounds;
  }
  double loss = 0, gradient = 0;  // what multiplies a row's divergence, and its q - p
  switch (s.loss) {
    case SoftLoss::kd:
      loss = s.convention == Convention::convex ? t * t : 1;
      gradient = s.convention == Convention::convex ? t : 1 / t;
      break;
    case SoftLoss::dkd:
      loss = t * t * (1 + kDkdOthers);
      gradient = t * (1 + kDkdOthers);
      break;
    case SoftLoss::nkd:
      loss = 1 + kNkdOthers * t * t;
      gradient = 1 + kNkdOthers * t;
      break;
    case SoftLoss::mse: {
      const double each = test::epsilon32 * 4 * range + lost;
      return {each * 4 * range + sum_noise(rows.classes, 0) * 2 * range * range,
              std::vector<double>(z.size(), steep * each / classes / n * (s.standardize ? classes : 1))};
    }
    default: loss = gradient = s.loss == SoftLoss::wttm ? std::max(1.0, std::pow(classes, 1 - 1 / t)) : 1;
  }
  return {loss * 4 * noise * (1 + spread + std::log(classes + 1)),
          std::vector<double>(z.size(), steep * gradient * 4 * noise / n)};
}

/// Losses and gradient of the device against the oracle's; the same losses without the gradient.
template <class T>
void check_equal(const Batch<T>& batch, const DistillationSettings& settings) {
  CAPTURE(batch.rows.rows);
  CAPTURE(batch.rows.classes);
  CAPTURE(static_cast<int>(settings.loss));
  CAPTURE(settings.standardize);
  CAPTURE(settings.temperature);
  CAPTURE(settings.lambda);
  const Expected expected = run_oracle(batch, settings);
  const Result<T> found = run_device(batch, settings);
  const Bounds soft = soft_bounds(batch, settings);
  const double hard_noise = sum_noise(batch.rows.classes, 2 * batch.range);
  const double hard = 4 * hard_noise * (1 + 2 * batch.range + std::log(static_cast<double>(batch.rows.classes) + 1));
  const double weight = weight_of_soft(settings),
               bounds[] = {settings.lambda * hard + weight * soft.loss, hard, soft.loss};
  CHECK(test::worst(found.loss, expected.loss,
                    [&](std::size_t i) { return bounds[i] + test::epsilon32 * std::fabs(expected.loss[i]); }) <= 1);
  CHECK(test::error_of(found.dz, expected.dz, [&](std::size_t i) {
          return 4 * settings.lambda * hard_noise / static_cast<double>(batch.rows.rows) + weight * soft.dz[i];
        }) <= 1);
  CHECK(run_device(batch, settings, false).loss == found.loss);
}

}  // namespace

TEST_CASE("device soft losses: every width, with and without standardised logits") {
  // Around every change of method: lanes of a warp, wide accesses, registers against memory.
  for (const std::int64_t classes : {1, 2, 3, 10, 31, 33, 100, 256, 257, 1000, 1001, 1024, 1025, 4099}) {
    const Rows rows{classes > 1000 ? 3 : 7, classes};
    const auto check = [&](auto zero) {
      const Batch<decltype(zero)> batch(rows, 8);
      for (const SoftLoss loss : kAll) {
        check_equal(batch, {4, 0.1, Convention::convex, loss, false, 1});
        check_equal(batch, {0.5, 0, Convention::additive, loss, false, 1.7});
        if (classes > 2) check_equal(batch, {2, 0.3, Convention::additive, loss, true, 9});
      }
    };
    test::for_each_element_type(check);
  }
}

TEST_CASE("device soft losses: every temperature, and batches of one row to three hundred") {
  for (const double temperature : {0.5, 1.0, 3.0, 20.0})
    for (const SoftLoss loss : kAll)
      for (const bool standardize : {false, true})
        check_equal(Batch<float>({5, 19}, 6), {temperature, 0.2, Convention::convex, loss, standardize, 1});
  for (const std::int64_t rows : {1, 2, 8, 9, 64, 65, 129, 300})
    for (const SoftLoss loss : kAll)
      for (const bool standardize : {false, true})
        check_equal(Batch<float>({rows, 12}, 4, 7), {4, 0.5, Convention::convex, loss, standardize, 2});
}

TEST_CASE("device soft losses: logits of 100 stay finite, and the same bits come in every order of threads") {
  for (const Rows rows : {Rows{70, 33}, {9, 1000}, {2, 2000}}) {
    const Batch<float> batch(rows, 100);
    for (const SoftLoss loss : kAll)
      for (const bool standardize : {false, true}) {
        CAPTURE(rows.classes);
        CAPTURE(static_cast<int>(loss));
        const DistillationSettings settings{0.5, 0.2, Convention::convex, loss, standardize, 1};
        check_equal(batch, settings);
        const Result<float> first = run_device(batch, settings);
        for (const float value : first.loss) REQUIRE(std::isfinite(value));
        for (const float value : first.dz) REQUIRE(std::isfinite(value));
        test::for_each_order([&] { CHECK(run_device(batch, settings) == first); });
      }
  }
}

TEST_CASE("device soft losses: a sure teacher and a sure student keep the digits of what is left beside the label") {
  // Beside logits of 30 and 25, 1 - p is 1e-13 and 1 - q 1e-11: as differences from 1 both would be 0 in float.
  Batch<float> batch({2, 4}, 1);
  batch.z = {25, 0.5f, -0.5f, 0.1f, 0.3f, 30, -0.2f, 0.7f};
  batch.v = {30, -0.5f, 0.5f, 0.3f, -0.1f, 25, 0.9f, -0.3f};
  batch.labels = {0, 1};
  const Batch<float>& host = batch;
  const DeviceBuffer<float> z(batch.z), v(batch.v), loss(3), dz(8);
  const DeviceBuffer<std::int64_t> labels(batch.labels);
  const LossKernels& kernels = device_kernels<float>().loss;
  const DeviceBuffer<char> workspace(kernels.workspace_bytes(batch.rows));
  for (const SoftLoss which : {SoftLoss::dkd, SoftLoss::nkd}) {
    CAPTURE(static_cast<int>(which));
    const DistillationSettings settings{1, 0, Convention::convex, which};
    kernels.distillation({}, batch.rows, settings, {labels.get()}, z.get(), v.get(), loss.get(), dz.get(),
                         workspace.get());
    const Expected expected = run_oracle(host, settings);
    // The label's own element is tiny, and right to the few units that an exponential of 30 costs. The oracle takes it
    // as a difference from 1, in double.
    CHECK(test::worst(dz.values(), expected.dz, [&](std::size_t i) {
            return 64 * test::epsilon32 * std::fabs(expected.dz[i]) + 4 * test::epsilon64;
          }) <= 1);
    CHECK(std::fabs(expected.dz[0]) < 1e-10);
  }
}

TEST_CASE("device soft losses: equal logits, one class, and what is no number") {
  for (const SoftLoss loss : kAll) {
    CAPTURE(static_cast<int>(loss));
    // Rows without any deviation: what is seen is 0 everywhere, and the gradient is the same for every class.
    for (const bool standardize : {false, true}) {
      Batch<float> flat({3, 5}, 1);
      std::fill(flat.z.begin(), flat.z.end(), 3.7f);
      const Batch<float> batch({3, 5}, 1);
      const DeviceBuffer<float> z(flat.z), out(3), dz(15);
      const LossKernels& kernels = device_kernels<float>().loss;
      const DeviceBuffer<char> workspace(kernels.workspace_bytes(flat.rows));
      const DistillationSettings settings{2, 0.3, Convention::convex, loss, standardize};
      kernels.distillation({}, flat.rows, settings, {batch.labels_there.get()}, z.get(), batch.v_there.get(), out.get(),
                           dz.get(), workspace.get());
      for (const float value : out.values()) CHECK(std::isfinite(value));
      for (const float value : dz.values()) CHECK(std::isfinite(value));
    }
    for (const bool student : {true, false})
      for (const std::size_t at : {0u, 7u, 11u}) {
        CAPTURE(at);
        const Batch<float> batch({2, 6}, 3);
        std::vector<float> wrong = student ? batch.z : batch.v;
        wrong[at] = std::numeric_limits<float>::quiet_NaN();
        const DeviceBuffer<float> there(wrong), out(3), dz(12);
        const LossKernels& kernels = device_kernels<float>().loss;
        const DeviceBuffer<char> workspace(kernels.workspace_bytes(batch.rows));
        kernels.distillation({}, batch.rows, {2, 0, Convention::convex, loss}, {batch.labels_there.get()},
                             student ? there.get() : batch.z_there.get(), student ? batch.v_there.get() : there.get(),
                             out.get(), dz.get(), workspace.get());
        CHECK(std::isnan(out.values()[0]));
      }
  }
  for (const SoftLoss loss : {SoftLoss::dkd, SoftLoss::nkd}) {  // they read the label, lambda or not
    const Batch<float> batch({2, 3}, 1);
    const DeviceBuffer<std::int64_t> labels(std::vector<std::int64_t>{0, 3});
    const DeviceBuffer<float> out(3), dz(6);
    const LossKernels& kernels = device_kernels<float>().loss;
    const DeviceBuffer<char> workspace(kernels.workspace_bytes(batch.rows));
    kernels.distillation({}, batch.rows, {2, 0, Convention::convex, loss}, {labels.get()}, batch.z_there.get(),
                         batch.v_there.get(), out.get(), dz.get(), workspace.get());
    CHECK(std::isnan(out.values()[0]));
  }
}

TEST_CASE("device soft losses: a term without weight reads no teacher and no label") {
  const Batch<float> batch({3, 10}, 2);
  const LossKernels& kernels = device_kernels<float>().loss;
  const DeviceBuffer<char> workspace(kernels.workspace_bytes(batch.rows));
  for (const SoftLoss loss : kAll) {
    CAPTURE(static_cast<int>(loss));
    const DeviceBuffer<float> out(3), dz(30), alone(1), alone_dz(30);
    kernels.distillation({}, batch.rows, {4, 1, Convention::convex, loss}, {batch.labels_there.get()},
                         batch.z_there.get(), nullptr, out.get(), dz.get(), workspace.get());
    kernels.cross_entropy({}, batch.rows, {batch.labels_there.get()}, batch.z_there.get(), alone.get(), alone_dz.get(),
                          workspace.get());
    CHECK(out.values()[2] == 0);
    CHECK(std::fabs(out.values()[0] - alone.values()[0]) <= 8 * test::epsilon32 * alone.values()[0]);
    CHECK(test::worst(dz.values(), test::widen(alone_dz.values()), [](std::size_t) { return 4 * test::epsilon32; }) <=
          1);
    if (soft_reads_labels(loss)) continue;
    kernels.distillation({}, batch.rows, {4, 0, Convention::convex, loss}, {}, batch.z_there.get(), batch.v_there.get(),
                         out.get(), dz.get(), workspace.get());
    CHECK(std::isfinite(out.values()[0]));
    CHECK(out.values()[1] == 0);
  }
}

TEST_CASE("device losses: numbers in the device's memory are taken in place of the settings' own") {
  const Batch<float> batch({5, 17}, 4);
  const DeviceBuffer<LossScalars> there(std::vector<LossScalars>{{3, 0.4, 1.5}});
  for (const SoftLoss loss : kAll)
    for (const bool standardize : {false, true})
      for (const Convention convention : {Convention::convex, Convention::additive}) {
        CAPTURE(static_cast<int>(loss));
        CAPTURE(standardize);
        const DistillationSettings own{3, 0.4, convention, loss, standardize, 1.5};
        DistillationSettings read{7, 0, convention, loss, standardize, 0.1};
        read.scalars = there.get();
        CHECK(run_device(batch, read) == run_device(batch, own));
      }
}

}  // namespace retort
