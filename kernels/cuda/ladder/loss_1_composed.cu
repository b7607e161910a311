// Step 1, composed: what one writes with an array library. Three log-softmaxes, of z, z / T and v / T, are stored; one
// kernel adds up each row's losses from them, another makes the gradient, a third the means.
//
// What limits it: memory. Each log-softmax reads its row three times and writes it, and the two kernels after read all
// three again: 19 times rows x classes elements move (docs/ladder/loss.md) where 3 would do, and 6 kernels start.
#include "kernels/cuda/loss-inl.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

struct Scratch {
  float values[kThreads / kWarp];
};

/// y = log softmax(x * scale), a block per row.
__global__ void log_softmax(int classes, float scale, const float* x, float* y) {
  float* const scratch = dev::shared<Scratch>().values;
  x += std::int64_t{blockIdx.x} * classes;
  y += std::int64_t{blockIdx.x} * classes;
  float top = -INFINITY, sum = 0;
  for (int i = threadIdx.x; i < classes; i += kThreads) top = Max{}(top, x[i]);
  top = block_reduce<kThreads>(top, Max{}, scratch);
  for (int i = threadIdx.x; i < classes; i += kThreads) sum += expf((x[i] - top) * scale);
  const float log_sum = logf(block_reduce<kThreads>(sum, Sum{}, scratch));
  for (int i = threadIdx.x; i < classes; i += kThreads) y[i] = (x[i] - top) * scale - log_sum;
}

/// The log-softmaxes, [rows, classes] each.
struct LogSoftmaxes {
  float *hard, *student, *teacher;
};

__global__ void row_losses(int classes, Terms terms, HardTargets targets, LogSoftmaxes logs, RowLoss* losses) {
  float* const scratch = dev::shared<Scratch>().values;
  const std::int64_t row = blockIdx.x, first = row * classes;
  RowLoss loss{0, 0};
  if (terms.hard()) {
    const RowTarget target(targets, row, classes);
    float cross = 0;
    for (int i = threadIdx.x; i < classes; i += kThreads)
      if (const float t = target(i); t != 0) cross -= t * logs.hard[first + i];
    cross = block_reduce<kThreads>(cross, Sum{}, scratch);
    loss.hard = target.valid ? cross : NAN;
  }
  if (terms.soft()) {
    float cross = 0;
    for (int i = threadIdx.x; i < classes; i += kThreads) {
      const float log_p = logs.teacher[first + i], log_q = logs.student[first + i], p = expf(log_p);
      if (p != 0) cross += p * (terms.convex ? log_p - log_q : -log_q);
    }
    loss.soft = terms.soft_loss_scale() * block_reduce<kThreads>(cross, Sum{}, scratch);
  }
  if (threadIdx.x == 0) losses[row] = loss;
}

__global__ void gradient(std::int64_t rows, int classes, Terms terms, HardTargets targets, LogSoftmaxes logs,
                         float* dz) {
  const std::int64_t elements = rows * classes, stride = std::int64_t{gridDim.x} * kThreads;
  const float share = 1 / static_cast<float>(rows);
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += stride) {
    float d = 0;
    if (terms.hard()) {
      const RowTarget target(targets, i / classes, classes);
      d += terms.hard_weight * share * (expf(logs.hard[i]) - target(static_cast<int>(i % classes)));
    }
    if (terms.soft()) d += terms.soft_gradient_scale() * share * (expf(logs.student[i]) - expf(logs.teacher[i]));
    dz[i] = d;
  }
}

std::size_t workspace_bytes(Rows rows) {
  return static_cast<std::size_t>(rows.rows) * (sizeof(RowLoss) + 3 * static_cast<std::size_t>(rows.classes) * 4);
}

void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const float* z, const float* v, float* loss, float* dz, void* workspace) {
  const Terms terms = terms_of(settings);
  const int classes = static_cast<int>(rows.classes);
  const dev::LaunchShape block_per_row{{static_cast<unsigned>(rows.rows)}, {kThreads}};
  const std::int64_t elements = rows.rows * rows.classes;
  auto* const losses = static_cast<RowLoss*>(workspace);
  auto* const first = reinterpret_cast<float*>(losses + rows.rows);
  const LogSoftmaxes logs{first, first + elements, first + 2 * elements};
  const auto log_softmax_of = [&](const float* x, float scale, float* y) {
    dev::launch("log_softmax", log_softmax, block_per_row, stream, classes, scale, x, y);
  };
  if (terms.hard()) log_softmax_of(z, 1, logs.hard);
  if (terms.soft()) log_softmax_of(z, 1 / terms.temperature, logs.student);
  if (terms.soft()) log_softmax_of(v, 1 / terms.temperature, logs.teacher);
  dev::launch("row_losses", row_losses, block_per_row, stream, classes, terms, targets, logs, losses);
  if (dz)
    dev::launch("gradient", gradient, {{blocks_for(elements, kThreads)}, {kThreads}}, stream, rows.rows, classes, terms,
                targets, logs, dz);
  launch_mean_losses(stream, rows.rows, settings, losses, loss, 3);
}

}  // namespace

DistillationKernel loss_1_composed() { return {.workspace_bytes = workspace_bytes, .run = entry<distillation>}; }

}  // namespace retort::RETORT_BACKEND
