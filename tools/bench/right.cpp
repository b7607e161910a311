#include "tools/bench/right.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/core/kernels.h"
#include "kernels/memory.h"
#include "tests/case.h"
#include "tests/cases/loss_bounds.h"
#include "tools/bench/limits.h"
#include "tools/bench/rows.h"

namespace retort {
namespace {

using test::Arithmetic;
using test::dot_tolerance;
using test::epsilon32;
using test::oracle;
using Values = std::vector<double>;

Arithmetic arithmetic_of(const Backend& backend) {
  if (backend.name.find(':') != std::string::npos)
    return test::ladder_arithmetic(backend.precision == "bf16" ? 0 : test::kTf32Rounding);
  Arithmetic arithmetic = test::kDeviceArithmetic;
  if (backend.precision == "tf32") arithmetic.operand_rounding = test::kTf32Rounding;
  return arithmetic;
}

Tensor drawn(const Shape& shape, const Backend& backend, double std, std::uint64_t seed, std::uint64_t index) {
  return random_tensor(shape, backend.dtype, backend.device, std, Random::of(seed, "bench", index));
}

/// Every bit set: NaN, which an element that is not written stays.
Tensor unwritten(const Shape& shape, DType dtype, Device device) {
  Tensor tensor = Tensor::empty(shape, dtype, device);
  const std::vector<char> bytes(tensor.bytes(), '\xFF');
  memory_of(device).upload({}, tensor.raw(), bytes.data(), bytes.size());
  return tensor;
}

Values wide(const Tensor& tensor) {
  const Tensor here = tensor.to(Device::cpu).to(DType::f32);
  const float* const values = here.data<float>();
  return Values(values, values + here.count());
}

double largest(const Values& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

/// Half the distance of neighbours near a value. What is rounded to bf16 was rounded to float before.
double half_unit(DType dtype, double value) {
  return (dtype == DType::bf16 ? 1.0 / 128 : epsilon32) / 2 * 1.01 * std::fabs(value);
}

/// Sums of products, `terms` of them an element: magnitude has the absolute values' sums.
double product_error(const Tensor& found, const Values& expected, const Values& magnitude, std::int64_t terms,
                     const Arithmetic& arithmetic) {
  const double operands = 2.01 * arithmetic.operand_rounding;
  return test::worst(wide(found), expected, [&](std::size_t i) {
    return dot_tolerance(terms, magnitude[i]) + operands * magnitude[i] + half_unit(found.dtype(), expected[i]);
  });
}

template <class Noise>
double noise_error(const Tensor& found, const Values& expected, const Arithmetic& arithmetic, const Noise& noise) {
  return test::worst(wide(found), expected, [&](std::size_t i) {
    return half_unit(found.dtype(), expected[i]) + noise(i) + arithmetic.underflow + std::numeric_limits<float>::min();
  });
}

struct LossProblem {
  test::Logits logits;
  Tensor z, v, labels;
};

LossProblem loss_problem(Rows rows, const Backend& backend, std::uint64_t seed) {
  LossProblem p{.logits = {.rows = rows, .range = 0, .z = {}, .v = {}, .weight = {}, .labels = {}, .labels2 = {}},
                .z = drawn({rows.rows, rows.classes}, backend, kLogitDeviation, seed, 0),
                .v = drawn({rows.rows, rows.classes}, backend, kLogitDeviation, seed, 1),
                .labels = Tensor::empty({rows.rows}, DType::i64)};
  for (std::int64_t i = 0; i < rows.rows; ++i) p.labels.data<std::int64_t>()[i] = i % rows.classes;
  p.logits.labels.assign(p.labels.data<std::int64_t>(), p.labels.data<std::int64_t>() + rows.rows);
  p.logits.labels2 = p.logits.labels;
  p.labels = p.labels.to(backend.device);
  p.logits.z = wide(p.z);
  p.logits.v = wide(p.v);
  p.logits.range = std::max(largest(p.logits.z), largest(p.logits.v));
  return p;
}

/// run(kernels, hard targets, z, v, loss, dz, workspace), by the backend and by the reference.
template <class Run, class OfGradient>
double loss_error(const LossProblem& p, const Backend& backend, const Arithmetic& arithmetic, const Values& of_losses,
                  const OfGradient& of_gradient, const Run& run) {
  const Rows rows = p.logits.rows;
  const auto outputs = static_cast<std::int64_t>(of_losses.size());
  const Tensor loss = unwritten({outputs}, parameter_dtype(backend.dtype), backend.device),
               dz = unwritten(p.z.shape(), backend.dtype, backend.device);
  const LossKernels& kernels = backend.table->loss;
  const Workspace workspace(kernels.workspace_bytes(rows), backend.device);
  run(kernels, HardTargets{.labels = static_cast<const std::int64_t*>(p.labels.raw())}, p.z.raw(), p.v.raw(),
      loss.raw(), dz.raw(), workspace.data());
  Values expected_loss(of_losses.size()), expected_dz(p.logits.z.size());
  std::vector<char> scratch(oracle().loss.workspace_bytes(rows));
  run(oracle().loss, HardTargets{.labels = p.logits.labels.data()}, p.logits.z.data(), p.logits.v.data(),
      expected_loss.data(), expected_dz.data(), scratch.data());
  return std::max(test::worst(wide(loss), expected_loss,
                              [&](std::size_t i) { return test::rounding_tolerance(expected_loss[i], of_losses[i]); }),
                  noise_error(dz, expected_dz, arithmetic, of_gradient));
}

}  // namespace

double conv_error(ConvPass pass, const Conv2dGeometry& g, const Backend& backend, std::uint64_t seed) {
  const Shape of_x = {g.n, g.h, g.w, g.c}, of_w = {g.r, g.s, g.c_per_group(), g.k}, of_y = {g.n, g.p(), g.q(), g.k};
  const Tensor x = drawn(of_x, backend, 1, seed, 0), w = drawn(of_w, backend, 1, seed, 1),
               y = drawn(of_y, backend, 1, seed, 2);
  const DType type = pass == ConvPass::wgrad ? parameter_dtype(backend.dtype) : backend.dtype;
  const Shape& shape = pass == ConvPass::fprop ? of_y : pass == ConvPass::dgrad ? of_x : of_w;
  const Tensor found = unwritten(shape, type, backend.device);
  const auto run = [&](const Conv2dKernels& kernels, void* workspace, const void* xs, const void* ws, const void* ys,
                       void* result) {
    switch (pass) {
      case ConvPass::fprop: return kernels.fprop({}, g, xs, ws, {}, result, workspace);
      case ConvPass::dgrad: return kernels.dgrad({}, g, ys, ws, result, workspace);
      case ConvPass::wgrad: return kernels.wgrad({}, g, xs, ys, result, workspace);
    }
  };
  const Conv2dKernels& kernels = backend.table->conv2d;
  run(kernels, Workspace(kernels.workspace_bytes(pass, g), backend.device).data(), x.raw(), w.raw(), y.raw(),
      found.raw());
  std::vector<char> scratch(oracle().conv2d.workspace_bytes(pass, g));
  const auto reference = [&](const Values& xs, const Values& ws, const Values& ys) {
    Values result(static_cast<std::size_t>(found.count()));
    run(oracle().conv2d, scratch.data(), xs.data(), ws.data(), ys.data(), result.data());
    return result;
  };
  const Values xs = wide(x), ws = wide(w), ys = wide(y);
  const std::int64_t terms = pass == ConvPass::fprop   ? g.r * g.s * g.c_per_group()
                             : pass == ConvPass::dgrad ? g.r * g.s * g.k_per_group()
                                                       : g.n * g.p() * g.q();
  return product_error(found, reference(xs, ws, ys),
                       reference(test::absolute(xs), test::absolute(ws), test::absolute(ys)), terms,
                       arithmetic_of(backend));
}

double gemm_error(const GemmGeometry& g, const Backend& backend, std::uint64_t seed) {
  const Tensor a = drawn({g.m, g.k}, backend, 1, seed, 0), b = drawn({g.k, g.n}, backend, 1, seed, 1),
               found = unwritten({g.m, g.n}, backend.dtype, backend.device);
  const GemmKernels& kernels = backend.table->gemm;
  const Workspace workspace(kernels.workspace_bytes(g), backend.device);
  kernels.run({}, g, a.raw(), b.raw(), nullptr, false, found.raw(), workspace.data());
  std::vector<char> scratch(oracle().gemm.workspace_bytes(g));
  const auto reference = [&](const Values& as, const Values& bs) {
    Values c(static_cast<std::size_t>(g.m * g.n));
    oracle().gemm.run({}, g, as.data(), bs.data(), nullptr, false, c.data(), scratch.data());
    return c;
  };
  const Values as = wide(a), bs = wide(b);
  return product_error(found, reference(as, bs), reference(test::absolute(as), test::absolute(bs)), g.k,
                       arithmetic_of(backend));
}

double softmax_error(Rows rows, double temperature, bool backward, const Backend& backend, std::uint64_t seed) {
  const Shape shape = {rows.rows, rows.classes};
  const Arithmetic arithmetic = arithmetic_of(backend);
  const SoftmaxKernels& kernels = backend.table->softmax;
  const Tensor x = drawn(shape, backend, kLogitDeviation, seed, 0), y = unwritten(shape, backend.dtype, backend.device);
  kernels.forward({}, rows, temperature, x.raw(), y.raw());
  const Values xs = wide(x);
  Values expected(xs.size());
  if (!backward) {
    oracle().softmax.forward({}, rows, temperature, xs.data(), expected.data());
    const double noise = arithmetic.softmax(rows.classes, 2 * largest(xs) / temperature);
    return noise_error(y, expected, arithmetic, [&](std::size_t i) { return noise * expected[i]; });
  }
  // From the backend's own y, whose rounding is no part of this.
  const Tensor dy = drawn(shape, backend, kLogitDeviation, seed, 1),
               dx = unwritten(shape, backend.dtype, backend.device);
  kernels.backward({}, rows, temperature, y.raw(), dy.raw(), dx.raw());
  const Values given = wide(y), gradient = wide(dy);
  oracle().softmax.backward({}, rows, temperature, given.data(), gradient.data(), expected.data());
  const double noise = arithmetic.mean_over_classes(rows.classes) * std::max(1.0, largest(gradient)) / temperature;
  return noise_error(dx, expected, arithmetic, [&](std::size_t i) { return noise * given[i]; });
}

double distillation_error(Rows rows, const DistillationSettings& settings, const Backend& backend, std::uint64_t seed) {
  const LossProblem p = loss_problem(rows, backend, seed);
  const Arithmetic arithmetic = arithmetic_of(backend);
  const auto run = [&](const LossKernels& kernels, const HardTargets& hard, const void* z, const void* v, void* loss,
                       void* dz,
                       void* workspace) { kernels.distillation({}, rows, settings, hard, z, v, loss, dz, workspace); };
  if (is_plain_kd(settings)) {
    const test::loss_cases::Bounds bounds = test::loss_cases::bounds(arithmetic, p.logits, settings, {});
    return loss_error(
        p, backend, arithmetic, bounds.losses, [&](std::size_t i) { return bounds.dz[i]; }, run);
  }
  const test::soft_loss_cases::Bounds soft = test::soft_loss_cases::bounds(arithmetic, p.logits, settings);
  const double hard_noise = arithmetic.softmax_in_loss(rows.classes, 2 * p.logits.range),
               of_hard = test::logarithm_error(hard_noise), weight = weight_of_soft(settings);
  return loss_error(
      p, backend, arithmetic, {settings.lambda * of_hard + weight * soft.loss, of_hard, soft.loss},
      [&](std::size_t i) {
        return settings.lambda * (hard_noise + epsilon32) / static_cast<double>(rows.rows) + weight * soft.dz[i];
      },
      run);
}

double cross_entropy_error(Rows rows, const Backend& backend, std::uint64_t seed) {
  const LossProblem p = loss_problem(rows, backend, seed);
  const Arithmetic arithmetic = arithmetic_of(backend);
  const test::loss_cases::Bounds bounds = test::loss_cases::bounds(arithmetic, p.logits, {.lambda = 1}, {});
  return loss_error(
      p, backend, arithmetic, {bounds.losses[1]}, [&](std::size_t i) { return bounds.dz[i]; },
      [&](const LossKernels& kernels, const HardTargets& hard, const void* z, const void*, void* loss, void* dz,
          void* workspace) { kernels.cross_entropy({}, rows, hard, z, loss, dz, workspace); });
}

}  // namespace retort
