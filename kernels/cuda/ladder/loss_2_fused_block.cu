// Step 2, fused: one kernel, a block per row, three passes over the logits: maxima, sums, gradient. The losses need no
// normalised probabilities: sums of exp and of p (log p - log q) before normalising suffice.
//
// What it fixes: nothing of the size of the logits is stored on the way. z and v are read three times, mostly from
// the caches after the first, and dz is written. What limits it: up to seven reductions of a block, two barriers
// each, over 4 elements a thread at 1000 classes; and the second and third pass wait for loads of what was just there.
#include "kernels/cuda/loss-inl.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

__global__ void fused_block(std::int64_t rows, int classes, Terms terms, HardTargets targets, const float* z,
                            const float* v, RowLoss* losses, float* dz) {
  struct Scratch {
    float values[kThreads / kWarp];
  };
  float* const scratch = dev::shared<Scratch>().values;
  const auto sum = [&](float value) { return block_reduce<kThreads>(value, Sum{}, scratch); };
  const auto max = [&](float value) { return block_reduce<kThreads>(value, Max{}, scratch); };
  const int first = static_cast<int>(threadIdx.x);
  const std::int64_t row = blockIdx.x;
  const bool hard = terms.hard(), soft = terms.soft();
  const float inverse = 1 / terms.temperature;
  const RowTarget target(hard ? targets : HardTargets{}, row, classes);
  z += row * classes;
  v = soft ? v + row * classes : z;

  float top_z = -INFINITY, top_v = -INFINITY;
  for (int i = first; i < classes; i += kThreads) {
    top_z = Max{}(top_z, z[i]);
    top_v = Max{}(top_v, v[i]);
  }
  top_z = max(top_z);
  top_v = max(top_v);

  // softmax(z), q and p are exp(...) over these sums; `cross` and `dot` are the losses' sums over classes.
  float sum_z = 0, sum_q = 0, sum_p = 0, dot = 0, cross = 0;
  for (int i = first; i < classes; i += kThreads) {
    const float a = z[i] - top_z, zs = a * inverse, vs = (v[i] - top_v) * inverse;
    if (hard) {
      sum_z += expf(a);
      if (const float t = target(i); t != 0) dot += t * a;
    }
    if (soft) {
      const float p = expf(vs);
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
  if (first == 0) losses[row] = loss;
  if (!dz) return;

  const float share = 1 / static_cast<float>(rows);
  for (int i = first; i < classes; i += kThreads) {
    const float a = z[i] - top_z, b = v[i] - top_v;
    float gradient = 0;
    if (hard) gradient += terms.hard_weight * share * (expf(a - log_z) - target(i));
    if (soft) gradient += terms.soft_gradient_scale() * share * (expf(a * inverse - log_q) - expf(b * inverse - log_p));
    dz[row * classes + i] = gradient;
  }
}

/// A loss a row, as the shipping kernel's.
std::size_t workspace_bytes(Rows rows) { return static_cast<std::size_t>(rows.rows) * sizeof(RowLoss); }

void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const float* z, const float* v, float* loss, float* dz, void* workspace) {
  const Terms terms = terms_of(settings);
  auto* const losses = static_cast<RowLoss*>(workspace);
  dev::launch("loss_2_fused_block", fused_block, {{static_cast<unsigned>(rows.rows)}, {kThreads}}, stream, rows.rows,
              static_cast<int>(rows.classes), terms, targets, z, v, losses, dz);
  launch_mean_losses(stream, rows.rows, settings, losses, loss, 3);
}

}  // namespace

DistillationKernel loss_2_fused_block() { return {.workspace_bytes = workspace_bytes, .run = entry<distillation>}; }

}  // namespace retort::RETORT_BACKEND
