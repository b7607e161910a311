// The soft terms that are sums over rows (contract: kernels/loss.h). One kernel per row makes loss and gradient, each
// logit read from memory once up to 1024 classes; a second adds the rows in a fixed order.
//
// A soft term is a class with add(i, a, b) for every pair of logits, finish(group), which returns its value, and then
// gradient(i, a, b), the derivative by the student's logit as seen (Seen).
#include <algorithm>

#include "kernels/cuda/soft_loss-inl.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {

/// dist, which looks along the batch too: dist_loss.cu.
template <class T>
DistillationKernel dist_loss();

namespace {

/// What a soft term is told of its row.
struct SoftRow {
  Terms terms;
  SoftLoss loss;
  int classes;
  Seen student, teacher;
  int label;               ///< the class that is taken out, or -1
  float z_label, v_label;  ///< its logits
  float top_z, top_v;      ///< the largest logits, the label's taken out
};

/// mse
template <class T>
class Squares {
 public:
  static constexpr bool kTakesLabelOut = false;
  __device__ explicit Squares(const SoftRow& row)
      : student_(row.student), teacher_(row.teacher), share_(dev::reciprocal(static_cast<float>(row.classes))) {}

  __device__ __forceinline__ void add(int, float a, float b) {
    const float difference = student_(a) - teacher_(b);
    sum_ += difference * difference;
  }
  template <class Group>
  __device__ float finish(const Group& group) {
    return group.sum(sum_) * share_ * 0.5f;
  }
  __device__ __forceinline__ float gradient(int, float a, float b) const {
    return (student_(a) - teacher_(b)) * share_;
  }

 private:
  Seen student_, teacher_;
  float share_, sum_ = 0;
};

/// kd, ttm, wttm: KL(p || q) or CE(p, q), q at a temperature of its own.
template <class T>
class Divergence {
 public:
  static constexpr bool kTakesLabelOut = false;
  __device__ explicit Divergence(const SoftRow& row)
      : loss_(row.loss),
        temperature_(row.terms.temperature),
        entropy_(row.loss == SoftLoss::kd && !row.terms.convex),
        top_z_(row.top_z),
        top_v_(row.top_v),
        one_(row.teacher.scale()),
        inverse_(dev::reciprocal(temperature_)),
        inverse_p_(row.teacher.scale() * inverse_),
        inverse_q_(row.student.scale() * (loss_ == SoftLoss::kd ? inverse_ : 1)) {}

  __device__ __forceinline__ void add(int, float a, float b) {
    const float zs = (a - top_z_) * inverse_q_, vs = (b - top_v_) * inverse_p_, p = exponential<T>(vs);
    sum_q_ += exponential<T>(zs);
    sum_p_ += p;
    // log p - log q is a difference of scaled logits: exact enough where the quotient of two tiny numbers is not.
    if (p != 0) cross_ += p * (entropy_ ? -zs : vs - zs);
    if (loss_ == SoftLoss::wttm) sum_one_ += exponential<T>((b - top_v_) * one_);
  }
  template <class Group>
  __device__ float finish(const Group& group) {
    const float sum_q = group.sum(sum_q_), sum_p = group.sum(sum_p_), cross = group.sum(cross_);
    float weight = 1, slope = 1;  // of the loss, and of q - p in its gradient
    if (loss_ == SoftLoss::kd) {
      weight = entropy_ ? 1 : temperature_ * temperature_;
      slope = entropy_ ? inverse_ : temperature_;
    } else if (loss_ == SoftLoss::wttm) {
      // The sum of softmax(v)^(1 / T): its terms are p's before normalising, over (sum exp(v - top))^(1 / T).
      weight = slope = sum_p * expf(-logf(group.sum(sum_one_)) * inverse_);
    }
    const float one_over_p = dev::reciprocal(sum_p);
    share_q_ = slope * dev::reciprocal(sum_q);
    share_p_ = slope * one_over_p;
    return weight * (cross * one_over_p - (entropy_ ? 0 : logf(sum_p)) + logf(sum_q));
  }
  __device__ __forceinline__ float gradient(int, float a, float b) const {
    return share_q_ * exponential<T>((a - top_z_) * inverse_q_) - share_p_ * exponential<T>((b - top_v_) * inverse_p_);
  }

 private:
  SoftLoss loss_;
  float temperature_;
  bool entropy_;  ///< CE(p, q) in place of KL(p || q)
  float top_z_, top_v_, one_;
  float inverse_, inverse_p_, inverse_q_;  ///< 1 / T; of logits' differences
  float sum_q_ = 0, sum_p_ = 0, cross_ = 0, sum_one_ = 0, share_q_ = 0, share_p_ = 0;
};

/// sigmoid(d), what it leaves of 1, and both logarithms, none of which loses digits where d is large on either side.
struct Logistic {
  float p, rest, log_p, log_rest;
  __device__ explicit Logistic(float d) {
    const float e = expf(-fabsf(d)), larger = dev::reciprocal(1 + e), smaller = e * larger, log = log1pf(e);
    p = d < 0 ? smaller : larger;
    rest = d < 0 ? larger : smaller;
    log_p = (d < 0 ? d : 0) - log;
    log_rest = (d < 0 ? 0 : -d) - log;
  }
};

/// dkd, nkd: the label's class against the rest, and the rest among themselves. With d = z_y - log sum exp of the rest,
/// q_y = sigmoid(d) and 1 - q_y = sigmoid(-d): neither is a difference that a sure net would leave no digit of.
template <class T>
class LabelApart {
 public:
  static constexpr bool kTakesLabelOut = true;
  __device__ explicit LabelApart(const SoftRow& row)
      : nkd_(row.loss == SoftLoss::nkd),
        label_(row.label),
        temperature_(row.terms.temperature),
        constant_(row.terms.constant),
        top_z_(row.top_z),
        top_v_(row.top_v),
        label_z_(row.z_label - row.top_z),
        label_v_(row.v_label - row.top_v),
        one_z_(row.student.scale()),
        one_v_(row.teacher.scale()),
        inverse_q_(one_z_ * dev::reciprocal(temperature_)),
        inverse_p_(one_v_ * dev::reciprocal(temperature_)) {}

  __device__ __forceinline__ void add(int i, float a, float b) {
    if (i == label_) return;
    const float zs = (a - top_z_) * inverse_q_, vs = (b - top_v_) * inverse_p_, p = exponential<T>(vs);
    sum_q_ += exponential<T>(zs);
    sum_p_ += p;
    if (p != 0) cross_ += p * (nkd_ ? -zs : vs - zs);
    if (nkd_) {
      sum_s_ += exponential<T>((a - top_z_) * one_z_);
      sum_one_ += exponential<T>((b - top_v_) * one_v_);
    }
  }
  template <class Group>
  __device__ float finish(const Group& group) {
    const float sum_q = group.sum(sum_q_), sum_p = group.sum(sum_p_), t = temperature_;
    const float log_q = logf(sum_q), one_over_p = dev::reciprocal(sum_p);
    const float cross = group.sum(cross_) * one_over_p + log_q;
    if (nkd_) {
      const float sum_s = group.sum(sum_s_);
      const Logistic student(label_z_ * one_z_ - logf(sum_s));
      const float sure = Logistic(label_v_ * one_v_ - logf(group.sum(sum_one_))).p;
      at_label_ = -sure * student.rest;
      share_s_ = sure * student.rest * dev::reciprocal(sum_s);
      share_q_ = constant_ * t * dev::reciprocal(sum_q);
      share_p_ = constant_ * t * one_over_p;
      return -sure * student.log_p + constant_ * t * t * cross;
    }
    const float log_p = logf(sum_p), z = label_z_ * inverse_q_ - log_q, v = label_v_ * inverse_p_ - log_p;
    const Logistic student(z), teacher(v);
    const float gap = z + v > 0 ? teacher.rest - student.rest : student.p - teacher.p;  // from the smaller sides
    at_label_ = t * gap;
    share_q_ = t * (constant_ - gap) * dev::reciprocal(sum_q);
    share_p_ = t * constant_ * one_over_p;
    const float binary =
        teacher.p * (teacher.log_p - student.log_p) + teacher.rest * (teacher.log_rest - student.log_rest);
    return t * t * (binary + constant_ * (cross - log_p));
  }
  __device__ __forceinline__ float gradient(int i, float a, float b) const {
    if (i == label_) return at_label_;
    const float g =
        share_q_ * exponential<T>((a - top_z_) * inverse_q_) - share_p_ * exponential<T>((b - top_v_) * inverse_p_);
    return nkd_ ? g + share_s_ * exponential<T>((a - top_z_) * one_z_) : g;
  }

 private:
  bool nkd_;
  int label_;
  float temperature_, constant_, top_z_, top_v_;
  float label_z_, label_v_;                      ///< the label's logits less the largest of the rest
  float one_z_, one_v_, inverse_q_, inverse_p_;  ///< of logits' differences, at T = 1 and at T
  float sum_q_ = 0, sum_p_ = 0, cross_ = 0, sum_s_ = 0, sum_one_ = 0;  ///< over the rest
  float share_q_ = 0, share_p_ = 0, share_s_ = 0, at_label_ = 0;
};

template <class T, class Kind, class Soft>
__global__ void __launch_bounds__(kRowThreads, Kind::kBlocks)
    soft_loss_kernel(std::int64_t rows, int classes, TermSource source, SoftLoss which, bool standardized,
                     HardTargets targets, const T* z, const T* v, RowLoss* losses, T* dz) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Terms terms = source.now();
  const bool hard = terms.hard(), soft = terms.soft();
  z += row * classes;
  v = soft ? v + row * classes : z;
  const Row student(z, classes), teacher(v, classes);

  const RowTarget target(hard || Soft::kTakesLabelOut ? targets : HardTargets{}, row, classes);
  const int label = Soft::kTakesLabelOut ? target.label : -1;
  // A label that is no class takes none out, and makes the loss NaN.
  const float z_label = label < 0 ? NAN : float(z[label]), v_label = label < 0 ? NAN : float(v[label]);
  float top_z = -INFINITY, top_v = -INFINITY;
  student.each(
      [&](int i, float a, float b) {
        if (i == label) return;
        top_z = Max{}(top_z, a);
        top_v = Max{}(top_v, b);
      },
      teacher);
  top_z = group.max(top_z);
  top_v = group.max(top_v);

  const bool standardize = soft && standardized;
  const Seen seen(student, group, classes, top_z, standardize);
  Soft soft_term({terms, which, classes, seen, Seen(teacher, group, classes, top_v, standardize), label, z_label,
                  v_label, top_z, top_v});
  HardTerm<T> hard_term(target, label < 0 ? top_z : Max{}(top_z, z_label));
  student.each(
      [&](int i, float a, float b) {
        if (hard) hard_term.add(i, a);
        if (soft) soft_term.add(i, a, b);
      },
      teacher);
  const RowLoss loss{hard ? hard_term.finish(group) : 0, soft ? soft_term.finish(group) : 0};
  if (group.rank() == 0) losses[row] = loss;
  if (!dz) return;

  float along = 0;
  if (standardize) {
    student.each([&](int i, float a, float b) { along += soft_term.gradient(i, a, b) * seen.centred(a); }, teacher);
    along = group.sum(along);
  }
  const float share = dev::reciprocal(static_cast<float>(rows));
  const float hard_scale = terms.hard_weight * share, soft_scale = terms.soft_weight * share;
  student.map(
      dz + row * classes,
      [&](int i, float a, float b) {
        float gradient = 0;
        if (hard) gradient += hard_scale * hard_term.gradient(i, a);
        if (soft) gradient += soft_scale * seen.backward(soft_term.gradient(i, a, b), a, along);
        return gradient;
      },
      teacher);
}

template <class T, template <class> class Soft>
void run(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const T* z,
         const T* v, RowLoss* losses, T* dz) {
  with_logits(rows, z, v, dz, [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("soft_loss", soft_loss_kernel<T, Kind, Soft<T>>, row_grid<typename Kind::Group>(rows.rows), stream,
                rows.rows, static_cast<int>(rows.classes), TermSource(settings), settings.loss, settings.standardize,
                targets, z, v, losses, dz);
  });
}

/// Of all soft terms, dist too.
template <class T>
std::size_t workspace_bytes(Rows rows) {
  return std::max(static_cast<std::size_t>(rows.rows) * sizeof(RowLoss), dist_loss<T>().workspace_bytes(rows));
}

template <class T>
void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const T* z, const T* v, float* loss, T* dz, void* workspace) {
  if (settings.loss == SoftLoss::dist)
    return dist_loss<T>().run(stream, rows, settings, targets, z, v, loss, dz, workspace);
  auto* const losses = static_cast<RowLoss*>(workspace);
  DistillationSettings chosen = settings;
  // With one class nothing is left beside the label's, and both terms are 0: so is kd.
  if (rows.classes == 1 && soft_reads_labels(settings.loss)) chosen.loss = SoftLoss::kd;
  if (chosen.loss == SoftLoss::mse)
    run<T, Squares>(stream, rows, chosen, targets, z, v, losses, dz);
  else if (soft_reads_labels(chosen.loss))
    run<T, LabelApart>(stream, rows, chosen, targets, z, v, losses, dz);
  else
    run<T, Divergence>(stream, rows, chosen, targets, z, v, losses, dz);
  launch_mean_losses(stream, rows.rows, settings, losses, loss, 3);
}

}  // namespace

template <class T>
DistillationKernel soft_loss() {
  return {.workspace_bytes = workspace_bytes<T>, .run = entry<distillation<T>>};
}
template DistillationKernel soft_loss<float>();
template DistillationKernel soft_loss<BFloat16>();

}  // namespace retort::RETORT_BACKEND
