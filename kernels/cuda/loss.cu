// Cross-entropy and the fused distillation loss (contract: kernels/loss.h): one kernel reads both logits once, up to
// 1024 classes, and writes the gradient and each row's loss; a second adds the rows in a fixed order.
#include "kernels/cuda/loss.h"

#include "kernels/cuda/rows.h"

namespace retort::RETORT_BACKEND {
namespace {

/// Everything that is the same for all rows. A weight of 0 means: do not look.
struct Terms {
  float hard_weight = 1, soft_weight = 0, temperature = 1;
  bool convex = true;
};

struct RowLoss {
  float hard, soft;
};

/// The hard target of class i in a row, as kernels/loss.h defines it.
struct RowTarget {
  std::int64_t label, label2;
  float weight, smoothing, uniform;
  /// Without labels every target is 0 (or uniform).
  __device__ RowTarget(const HardTargets& targets, std::int64_t row, int classes)
      : label(targets.labels ? targets.labels[row] : -1),
        label2(targets.labels2 ? targets.labels2[row] : -1),
        weight(targets.weight ? targets.weight[row] : 1),
        smoothing(static_cast<float>(targets.smoothing)),
        uniform(smoothing / static_cast<float>(classes)) {}
  __device__ float operator()(int i) const {
    float onehot = i == label ? weight : 0;
    if (i == label2) onehot += 1 - weight;
    return (1 - smoothing) * onehot + uniform;
  }
  __device__ bool valid(int classes) const { return label >= 0 && label < classes && label2 < classes; }
};

template <class T, class Kind>
__global__ void loss_kernel(std::int64_t rows, int classes, Terms terms, HardTargets targets, const T* z, const T* v,
                            RowLoss* losses, T* dz) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const bool hard = terms.hard_weight != 0, soft = terms.soft_weight != 0;
  const float inverse = 1 / terms.temperature;
  const Row student(z + row * classes, classes);
  const Row teacher((soft ? v : z) + row * classes, classes);
  float top_z = -INFINITY, top_v = -INFINITY;
  student.each(teacher, [&](int, float a, float b) {
    top_z = Max{}(top_z, a);
    top_v = Max{}(top_v, b);
  });
  top_z = group.max(top_z);
  top_v = group.max(top_v);

  RowLoss loss{0, 0};
  float log_sum = 0, log_q = 0, log_p = 0;
  if (hard) {
    const RowTarget target(targets, row, classes);
    float sum = 0, dot = 0;
    student.each([&](int i, float a) {
      sum += expf(a - top_z);
      const float t = target(i);
      if (t != 0) dot += t * (a - top_z);
    });
    log_sum = logf(group.sum(sum));
    dot = group.sum(dot);
    // The targets of a row add up to 1.
    loss.hard = target.valid(classes) ? log_sum - dot : NAN;
  }
  if (soft) {
    float sum_q = 0, sum_p = 0, cross = 0;
    student.each(teacher, [&](int, float a, float b) {
      const float zs = (a - top_z) * inverse, vs = (b - top_v) * inverse, p = expf(vs);
      sum_q += expf(zs);
      sum_p += p;
      // log p - log q is a difference of scaled logits: exact enough where the quotient of two tiny numbers is not.
      if (p != 0) cross += p * (terms.convex ? vs - zs : -zs);
    });
    sum_q = group.sum(sum_q);
    sum_p = group.sum(sum_p);
    cross = group.sum(cross);
    log_q = logf(sum_q);
    log_p = logf(sum_p);
    loss.soft =
        terms.convex ? terms.temperature * terms.temperature * (cross / sum_p - log_p + log_q) : cross / sum_p + log_q;
  }
  if (group.rank() == 0) losses[row] = loss;
  if (!dz) return;
  const float share = 1 / static_cast<float>(rows);
  const float hard_scale = terms.hard_weight * share;
  const float soft_scale = terms.soft_weight * (terms.convex ? terms.temperature : inverse) * share;
  const RowTarget target(hard ? targets : HardTargets{}, row, classes);
  student.map(teacher, dz + row * classes, [&](int i, float a, float b) {
    float gradient = 0;
    if (hard) gradient += hard_scale * (expf(a - top_z - log_sum) - target(i));
    if (soft) gradient += soft_scale * (expf((a - top_z) * inverse - log_q) - expf((b - top_v) * inverse - log_p));
    return gradient;
  });
}

/// out[0..2] = total, hard and soft means; with one output the total alone. One block, in a fixed order.
__global__ void mean_losses(std::int64_t rows, Terms terms, const RowLoss* losses, float* out, int outputs) {
  struct Shared {
    double hard[kRowThreads], soft[kRowThreads];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  double hard = 0, soft = 0;
  for (std::int64_t row = t; row < rows; row += kRowThreads) {
    hard += double{losses[row].hard};
    soft += double{losses[row].soft};
  }
  shared.hard[t] = hard;
  shared.soft[t] = soft;
  dev::syncthreads();
  if (t != 0) return;
  hard = soft = 0;
  for (int i = 0; i < kRowThreads; ++i) {
    hard += shared.hard[i];
    soft += shared.soft[i];
  }
  hard /= static_cast<double>(rows);
  soft /= static_cast<double>(rows);
  out[0] = static_cast<float>(double{terms.hard_weight} * hard + double{terms.soft_weight} * soft);
  if (outputs < 3) return;
  out[1] = static_cast<float>(hard);
  out[2] = static_cast<float>(soft);
}

template <class T>
void run(const char* name, Stream stream, Rows rows, const Terms& terms, const HardTargets& targets, const void* z,
         const void* v, void* loss, int outputs, void* dz, void* workspace) {
  auto* const losses = static_cast<RowLoss*>(workspace);
  const bool wide = rows.classes % kPack<T> == 0 && aligned16(z) && aligned16(v) && aligned16(dz);
  with_rows<T>(rows.classes, wide, [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch(name, loss_kernel<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                static_cast<int>(rows.classes), terms, targets, static_cast<const T*>(z), static_cast<const T*>(v),
                losses, static_cast<T*>(dz));
  });
  dev::launch("mean_losses", mean_losses, {{1}, {kRowThreads}}, stream, rows.rows, terms, losses,
              static_cast<float*>(loss), outputs);
}

}  // namespace

std::size_t loss_workspace_bytes(Rows rows) { return static_cast<std::size_t>(rows.rows) * sizeof(RowLoss); }

template <class T>
void cross_entropy(Stream stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz,
                   void* workspace) {
  run<T>("cross_entropy", stream, rows, {}, targets, z, nullptr, loss, 1, dz, workspace);
}

template <class T>
void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const void* z, const void* v, void* loss, void* dz, void* workspace) {
  const bool convex = settings.convention == Convention::convex;
  const Terms terms{static_cast<float>(settings.lambda), static_cast<float>(convex ? 1 - settings.lambda : 1),
                    static_cast<float>(settings.temperature), convex};
  run<T>("distillation", stream, rows, terms, targets, z, v, loss, 3, dz, workspace);
}

#define RETORT_INSTANTIATE(T)                                                                               \
  template void cross_entropy<T>(Stream, Rows, const HardTargets&, const void*, void*, void*, void*);       \
  template void distillation<T>(Stream, Rows, const DistillationSettings&, const HardTargets&, const void*, \
                                const void*, void*, void*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace retort::RETORT_BACKEND
