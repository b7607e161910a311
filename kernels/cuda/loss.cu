// Cross-entropy and the fused distillation loss (contract: kernels/loss.h): one kernel reads both logits once, up to
// 1024 classes, and writes the gradient and each row's loss; a second adds the rows in a fixed order. bf16 rows in
// whole packs have a kernel of their own (loss_bf16.h).
#include "kernels/loss.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/loss-inl.h"
#include "kernels/cuda/loss_bf16.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {

/// The soft terms beside plain KD: soft_loss.cu.
template <class T>
DistillationKernel soft_loss();

namespace {

template <class T, class Kind>
__global__ void __launch_bounds__(kRowThreads)
    loss_kernel(std::int64_t rows, int classes, TermSource source, HardTargets targets, const T* z, const T* v,
                RowLoss* losses, T* dz) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Terms terms = source.now();
  const bool hard = terms.hard(), soft = terms.soft();
  const float inverse = 1 / terms.temperature;
  Row student(z + row * classes, classes);
  Row teacher((soft ? v : z) + row * classes, classes);
  float top_z = -INFINITY, top_v = -INFINITY;
  student.each(
      [&](int, float a, float b) {
        top_z = Max{}(top_z, a);
        top_v = Max{}(top_v, b);
      },
      teacher);
  top_z = group.max(top_z);
  top_v = group.max(top_v);

  // Exponentials cost more than all else that is done to an element. Where the row is held in registers each is
  // computed once: those of z / T and v / T take the logits' places, those of z a row of their own.
  const RowTarget target(hard ? targets : HardTargets{}, row, classes);
  const auto power = [&](float a) { return hard ? exponential<T>(a - top_z) : 0; };
  const auto power_q = [&](float a) { return soft ? exponential<T>((a - top_z) * inverse) : 0; };
  const auto power_p = [&](float b) { return soft ? exponential<T>((b - top_v) * inverse) : 0; };
  Row predicted(classes);
  float sum = 0, dot = 0, sum_q = 0, sum_p = 0, cross = 0;
  student.update(
      [&](int i, float& a, float& b, float& e) {
        e = power(a);
        const float q = power_q(a), p = power_p(b);
        if (hard) {
          sum += e;
          const float t = target(i);
          if (t != 0) dot += t * (a - top_z);
        }
        if (soft) {
          sum_q += q;
          sum_p += p;
          // log p - log q is a difference of scaled logits: exact enough where the quotient of two tiny numbers is not.
          const float zs = (a - top_z) * inverse, vs = (b - top_v) * inverse;
          if (p != 0) cross += p * (terms.convex ? vs - zs : -zs);
        }
        a = q;
        b = p;
      },
      teacher, predicted);
  RowLoss loss{0, 0};
  float share = 0, share_q = 0, share_p = 0;  // 1 / the sums
  if (hard) {
    sum = group.sum(sum);
    dot = group.sum(dot);
    share = 1 / sum;
    // The targets of a row add up to 1.
    loss.hard = target.valid ? logf(sum) - dot : NAN;
  }
  if (soft) {
    sum_q = group.sum(sum_q);
    sum_p = group.sum(sum_p);
    cross = group.sum(cross);
    share_q = 1 / sum_q;
    share_p = 1 / sum_p;
    loss.soft = terms.soft_loss_scale() * (cross * share_p - (terms.convex ? logf(sum_p) : 0) + logf(sum_q));
  }
  if (group.rank() == 0) losses[row] = loss;
  if (!dz) return;
  const float hard_scale = terms.hard_weight / static_cast<float>(rows);
  const float soft_scale = terms.soft_gradient_scale() / static_cast<float>(rows);
  student.map(
      dz + row * classes,
      [&](int i, float a, float b, float e) {
        const float q = Row::kHeld ? a : power_q(a), p = Row::kHeld ? b : power_p(b);
        float gradient = 0;
        if (hard) gradient += hard_scale * ((Row::kHeld ? e : power(a)) * share - target(i));
        if (soft) gradient += soft_scale * (q * share_q - p * share_p);
        return gradient;
      },
      teacher, predicted);
}

template <class T>
void run(const char* name, Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
         const T* z, const T* v, float* loss, int outputs, T* dz, void* workspace) {
  auto* const losses = static_cast<RowLoss*>(workspace);
  const auto launch = [&](auto kernel, const dev::LaunchShape& shape) {
    dev::launch(name, kernel, shape, stream, rows.rows, static_cast<int>(rows.classes), TermSource(settings), targets,
                z, v, losses, dz);
  };
  with_logits(rows, z, v, dz, [&](auto kind) {
    using Kind = decltype(kind);
    const auto shape = row_grid<typename Kind::Group>(rows.rows);
    if constexpr (std::is_same_v<T, BFloat16> && Kind::Row::kHeld && Kind::Row::kAtOnce == kPack<T>)
      launch(bf16_loss<Kind::Row::kValues / kPack<T>>, shape);
    else
      launch(loss_kernel<T, Kind>, shape);
  });
  launch_mean_losses(stream, rows.rows, settings, losses, loss, outputs);
}

template <class T>
std::size_t workspace_bytes(Rows rows) {
  return std::max(static_cast<std::size_t>(rows.rows) * sizeof(RowLoss), soft_loss<T>().workspace_bytes(rows));
}

template <class T>
void cross_entropy(Stream stream, Rows rows, const HardTargets& targets, const T* z, float* loss, T* dz,
                   void* workspace) {
  const DistillationSettings labels_alone{.lambda = 1, .soft_weight = 0};
  run<T>("cross_entropy", stream, rows, labels_alone, targets, z, nullptr, loss, 1, dz, workspace);
}

template <class T>
void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const T* z, const T* v, float* loss, T* dz, void* workspace) {
  if (is_plain_kd(settings))
    run("distillation", stream, rows, settings, targets, z, v, loss, 3, dz, workspace);
  else
    soft_loss<T>().run(stream, rows, settings, targets, z, v, loss, dz, workspace);
}

}  // namespace

template <class T>
LossKernels loss() {
  return {.workspace_bytes = workspace_bytes<T>,
          .cross_entropy = entry<cross_entropy<T>>,
          .distillation = entry<distillation<T>>};
}
template LossKernels loss<float>();
template LossKernels loss<BFloat16>();

}  // namespace retort::RETORT_BACKEND
