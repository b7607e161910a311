// Step 3, registers: a warp per row reads z and v once, keeps them in registers, 32 elements of each a lane, and makes
// all three passes over those. Sums go by shuffles.
//
// What it fixes: each logit is loaded once, the least there is, and no barrier is left. What limits it: loads of 4
// bytes a lane, so four times the instructions that the shipping kernel's take; and 1000 classes' worth of registers
// and instructions even where there are 10. Rows of more than 1024 classes do not fit and take step 2.
#include "kernels/cuda/loss-inl.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {

DistillationKernel loss_2_fused_block();

namespace {

constexpr int kItems = 32, kRowsPerBlock = 8;

__global__ void __launch_bounds__(kRowsPerBlock* kWarp)
    warp_registers(std::int64_t rows, int classes, Terms terms, HardTargets targets, const float* z, const float* v,
                   RowLoss* losses, float* dz) {
  const auto sum = [](float value) { return warp_reduce(value, Sum{}); };
  const auto max = [](float value) { return warp_reduce(value, Max{}); };
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerBlock + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= rows) return;
  const bool hard = terms.hard(), soft = terms.soft();
  const float inverse = 1 / terms.temperature;
  const RowTarget target(hard ? targets : HardTargets{}, row, classes);

  // A place beyond the row holds -infinity: it is no maximum, and adds exp = 0 to the sums.
  float a[kItems], b[kItems], top_z = -INFINITY, top_v = -INFINITY;
#pragma unroll
  for (int j = 0; j < kItems; ++j) {
    const int i = lane + j * kWarp;
    a[j] = i < classes ? z[row * classes + i] : -INFINITY;
    b[j] = i < classes && soft ? v[row * classes + i] : -INFINITY;
    top_z = Max{}(top_z, a[j]);
    top_v = Max{}(top_v, b[j]);
  }
  top_z = max(top_z);
  top_v = max(top_v);

  float sum_z = 0, sum_q = 0, sum_p = 0, dot = 0, cross = 0;
#pragma unroll
  for (int j = 0; j < kItems; ++j) {
    const int i = lane + j * kWarp;
    if (i >= classes) continue;
    a[j] -= top_z;
    b[j] -= top_v;
    if (hard) {
      sum_z += expf(a[j]);
      if (const float t = target(i); t != 0) dot += t * a[j];
    }
    if (soft) {
      const float zs = a[j] * inverse, vs = b[j] * inverse, p = expf(vs);
      sum_q += expf(zs);
      sum_p += p;
      if (p != 0) cross += p * (terms.convex ? vs - zs : -zs);
    }
  }
  RowLoss loss{0, 0};
  float log_z = 0, log_q = 0, log_p = 0;
  if (hard) {
    log_z = logf(sum(sum_z));
    dot = sum(dot);
    loss.hard = target.valid ? log_z - dot : NAN;
  }
  if (soft) {
    log_q = logf(sum(sum_q));
    sum_p = sum(sum_p);
    log_p = logf(sum_p);
    loss.soft = terms.soft_loss_scale() * (sum(cross) / sum_p - (terms.convex ? log_p : 0) + log_q);
  }
  if (lane == 0) losses[row] = loss;
  if (!dz) return;

  const float share = 1 / static_cast<float>(rows);
#pragma unroll
  for (int j = 0; j < kItems; ++j) {
    const int i = lane + j * kWarp;
    if (i >= classes) continue;
    float gradient = 0;
    if (hard) gradient += terms.hard_weight * share * (expf(a[j] - log_z) - target(i));
    if (soft)
      gradient += terms.soft_gradient_scale() * share * (expf(a[j] * inverse - log_q) - expf(b[j] * inverse - log_p));
    dz[row * classes + i] = gradient;
  }
}

/// A loss a row, as the shipping kernel's.
std::size_t workspace_bytes(Rows rows) { return static_cast<std::size_t>(rows.rows) * sizeof(RowLoss); }

void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const float* z, const float* v, float* loss, float* dz, void* workspace) {
  if (rows.classes > kItems * kWarp)
    return loss_2_fused_block().run(stream, rows, settings, targets, z, v, loss, dz, workspace);
  const Terms terms = terms_of(settings);
  auto* const losses = static_cast<RowLoss*>(workspace);
  dev::launch("loss_3_warp_registers", warp_registers,
              {{static_cast<unsigned>((rows.rows + kRowsPerBlock - 1) / kRowsPerBlock)}, {kRowsPerBlock * kWarp}},
              stream, rows.rows, static_cast<int>(rows.classes), terms, targets, z, v, losses, dz);
  launch_mean_losses(stream, rows.rows, settings, losses, loss, 3);
}

}  // namespace

DistillationKernel loss_3_warp_registers() { return {.workspace_bytes = workspace_bytes, .run = entry<distillation>}; }

}  // namespace retort::RETORT_BACKEND
