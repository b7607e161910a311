// DIST (contract: kernels/loss.h): correlations of teacher's and student's probabilities over the classes of a row, and
// over the rows of a class. Four passes, two over rows and two over classes:
//   1  rows      each row's softmax: its maximum, scale and sum
//   2  classes   the means of p and q
//   3  classes   the products of p and q about their means; from both, each class's correlation
//   4  rows      each row's correlation, and the gradient of everything
// Probabilities are never stored: each is computed again from its logit. Sums have a fixed order.
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/soft_loss-inl.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

/// A row's softmax at T of one net: p = exp((x - top) scale) share.
struct Softmax {
  float top, scale, share;
  template <class T>
  __device__ __forceinline__ float probability(float x) const {
    return exponential<T>((x - top) * scale) * share;
  }
};
struct RowSoftmaxes {
  Softmax student, teacher;
};

/// Pearson's correlation r of two vectors a and b from their centred products, and the slopes of
/// dr/db_i = across a_i - along b_i, a and b centred.
struct Correlation {
  double r, across, along;
  __device__ Correlation(double aa, double ab, double bb) {
    const double norm = sqrt((aa + kPearsonFloor) * (bb + kPearsonFloor));
    r = ab / norm;
    across = 1 / norm;
    along = r / (bb + kPearsonFloor);
  }
};

/// What the gradient needs of a class over the batch. The slopes have 1 / classes in them.
struct ClassCorrelation {
  float mean_p, mean_q, across, along;
};

/// Calls f(j, p, q) for the kN logits from the place's on.
template <class T, int kN, class F>
__device__ __forceinline__ void each_probability(const ColumnPlace& place, const T* z, const T* v,
                                                 const RowSoftmaxes* softmaxes, const F& f) {
  const RowSoftmaxes row = softmaxes[place.row];
  float student[kN], teacher[kN];
  widen<T>(dev::load<Packed<T, kN>>(z + place.at()), student);
  widen<T>(dev::load<Packed<T, kN>>(v + place.at()), teacher);
  for (int j = 0; j < kN; ++j) f(j, row.teacher.probability<T>(teacher[j]), row.student.probability<T>(student[j]));
}

/// p and q.
template <class T>
struct Probabilities {
  using Sums = ColumnPair;
  const T *z, *v;
  const RowSoftmaxes* softmaxes;
  template <int kN>
  struct Columns {
    Probabilities of;
    __device__ Columns(const Probabilities& probabilities, const ColumnPlace&) : of(probabilities) {}
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      each_probability<T, kN>(place, of.z, of.v, of.softmaxes, [&](int j, float p, float q) { sums[j] += {p, q}; });
    }
  };
};

/// Their products about the means.
template <class T>
struct Products {
  using Sums = ColumnTriple;
  const T *z, *v;
  const RowSoftmaxes* softmaxes;
  const ClassCorrelation* classes;
  template <int kN>
  struct Columns {
    Products of;
    float mean_p[kN], mean_q[kN];
    __device__ Columns(const Products& products, const ColumnPlace& place) : of(products) {
      for (int j = 0; j < kN; ++j) {
        mean_p[j] = of.classes[place.channel + j].mean_p;
        mean_q[j] = of.classes[place.channel + j].mean_q;
      }
    }
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      each_probability<T, kN>(place, of.z, of.v, of.softmaxes, [&](int j, float p, float q) {
        const float a = p - mean_p[j], b = q - mean_q[j];
        sums[j] += {a * a, a * b, b * b};
      });
    }
  };
};

__global__ void __launch_bounds__(kFinishThreads)
    finish_means(std::int64_t rows, std::int64_t classes, int chunks, const ColumnPair* partial,
                 ClassCorrelation* correlations) {
  ColumnFinish finish;
  const std::int64_t j = finish.channel();
  const double p = finish.sum(chunks, classes, [&](int i) { return double{partial[i * classes + j].first}; });
  const double q = finish.sum(chunks, classes, [&](int i) { return double{partial[i * classes + j].second}; });
  if (!finish.writes(classes)) return;
  correlations[j].mean_p = static_cast<float>(p / static_cast<double>(rows));
  correlations[j].mean_q = static_cast<float>(q / static_cast<double>(rows));
}

__global__ void __launch_bounds__(kFinishThreads)
    finish_correlations(std::int64_t classes, double weight, int chunks, const ColumnTriple* partial,
                        ClassCorrelation* correlations, float* losses) {
  ColumnFinish finish;
  const std::int64_t j = finish.channel();
  const double aa = finish.sum(chunks, classes, [&](int i) { return double{partial[i * classes + j].first}; });
  const double ab = finish.sum(chunks, classes, [&](int i) { return double{partial[i * classes + j].second}; });
  const double bb = finish.sum(chunks, classes, [&](int i) { return double{partial[i * classes + j].third}; });
  if (!finish.writes(classes)) return;
  const Correlation correlation(aa, ab, bb);
  correlations[j].across = static_cast<float>(weight * correlation.across / static_cast<double>(classes));
  correlations[j].along = static_cast<float>(weight * correlation.along / static_cast<double>(classes));
  losses[j] = static_cast<float>(1 - correlation.r);
}

/// Without correlations of the classes: the rows' losses and softmaxes. With them, the gradient.
template <class T, class Kind>
__global__ void __launch_bounds__(kRowThreads, Kind::kBlocks)
    dist_rows(std::int64_t rows, int classes, TermSource source, bool standardize, HardTargets targets, const T* z,
              const T* v, RowSoftmaxes* softmaxes, RowLoss* losses, const ClassCorrelation* correlations, T* dz) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Terms terms = source.now();
  const bool hard = terms.hard(), soft = terms.soft();
  const Row student(z + row * classes, classes), teacher(v + row * classes, classes);
  float top_z = -INFINITY, top_v = -INFINITY;
  student.each(
      [&](int, float a, float b) {
        top_z = Max{}(top_z, a);
        top_v = Max{}(top_v, b);
      },
      teacher);
  top_z = group.max(top_z);
  top_v = group.max(top_v);

  const Seen seen(student, group, classes, top_z, standardize);
  const Seen seen_v(teacher, group, classes, top_v, standardize);
  HardTerm<T> hard_term(RowTarget(hard ? targets : HardTargets{}, row, classes), top_z);
  Softmax q{top_z, seen.scale() / terms.temperature, 1}, p{top_v, seen_v.scale() / terms.temperature, 1};
  float sum_q = 0, sum_p = 0;
  student.each(
      [&](int i, float a, float b) {
        if (hard) hard_term.add(i, a);
        sum_q += q.probability<T>(a);
        sum_p += p.probability<T>(b);
      },
      teacher);
  q.share = 1 / group.sum(sum_q);
  p.share = 1 / group.sum(sum_p);
  const float hard_loss = hard ? hard_term.finish(group) : 0;

  // Probabilities add up to 1: their mean is 1 / classes.
  const float mean = 1 / static_cast<float>(classes);
  float aa = 0, ab = 0, bb = 0;
  student.each(
      [&](int, float a, float b) {
        const float x = p.probability<T>(b) - mean, y = q.probability<T>(a) - mean;
        aa += x * x;
        ab += x * y;
        bb += y * y;
      },
      teacher);
  const Correlation correlation(double{group.sum(aa)}, double{group.sum(ab)}, double{group.sum(bb)});
  if (!correlations) {
    if (group.rank() == 0) {
      softmaxes[row] = {q, p};
      losses[row] = {hard_loss, soft ? static_cast<float>(1 - correlation.r) : 0};
    }
    return;
  }

  const float across = static_cast<float>(correlation.across / static_cast<double>(rows));
  const float along = static_cast<float>(correlation.along / static_cast<double>(rows));
  // d(loss)/dq
  const auto slope = [&](int i, float x, float y) {
    const ClassCorrelation c = dev::load<ClassCorrelation>(correlations + i);
    return along * (y - mean) - across * (x - mean) + c.along * (y - c.mean_q) - c.across * (x - c.mean_p);
  };
  float inner = 0;
  student.each(
      [&](int i, float a, float b) {
        const float y = q.probability<T>(a);
        inner += y * slope(i, p.probability<T>(b), y);
      },
      teacher);
  inner = group.sum(inner);
  const auto gradient = [&](int i, float a, float b) {
    const float y = q.probability<T>(a);
    return y * (slope(i, p.probability<T>(b), y) - inner) / terms.temperature;
  };
  float pull = 0;
  if (standardize) {
    student.each([&](int i, float a, float b) { pull += gradient(i, a, b) * seen.centred(a); }, teacher);
    pull = group.sum(pull);
  }
  const float hard_scale = terms.hard_weight / static_cast<float>(rows);
  student.map(
      dz + row * classes,
      [&](int i, float a, float b) {
        float result = 0;
        if (hard) result += hard_scale * hard_term.gradient(i, a);
        if (soft) result += terms.soft_weight * seen.backward(gradient(i, a, b), a, pull);
        return result;
      },
      teacher);
}

/// Where things lie in the workspace, each aligned to 16 bytes.
struct WorkspaceLayout {
  std::size_t bytes = 0, losses, softmaxes, correlations, class_losses, partial;
  explicit WorkspaceLayout(Rows rows) {
    const auto take = [this](std::size_t count, std::size_t size) {
      const std::size_t begin = bytes;
      bytes += (count * size + 15) / 16 * 16;
      return begin;
    };
    const auto n = static_cast<std::size_t>(rows.rows), classes = static_cast<std::size_t>(rows.classes);
    losses = take(n, sizeof(RowLoss));
    softmaxes = take(n, sizeof(RowSoftmaxes));
    correlations = take(classes, sizeof(ClassCorrelation));
    class_losses = take(classes, sizeof(float));
    partial = take(1, column_sums_bytes<ColumnTriple>(rows.rows, rows.classes));
  }
};

std::size_t workspace_bytes(Rows rows) { return WorkspaceLayout(rows).bytes; }

template <class T>
void distillation(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                  const T* z, const T* teacher_logits, float* loss, T* dz, void* workspace) {
  const std::int64_t classes = rows.classes;
  const WorkspaceLayout layout(rows);
  const auto at = [&](std::size_t offset) { return static_cast<void*>(static_cast<char*>(workspace) + offset); };
  auto* const losses = static_cast<RowLoss*>(at(layout.losses));
  auto* const softmaxes = static_cast<RowSoftmaxes*>(at(layout.softmaxes));
  auto* const correlations = static_cast<ClassCorrelation*>(at(layout.correlations));
  auto* const class_losses = static_cast<float*>(at(layout.class_losses));
  const T* const v = teacher_logits ? teacher_logits : z;  // none where the soft term has no weight
  const auto over_rows = [&](const ClassCorrelation* known) {
    with_logits(rows, z, v, dz, [&](auto kind) {
      using Kind = decltype(kind);
      dev::launch("dist_rows", dist_rows<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                  static_cast<int>(classes), TermSource(settings), settings.standardize, targets, z, v, softmaxes,
                  losses, known, dz);
    });
  };
  over_rows(nullptr);

  const bool wide = classes % kPack<T> == 0 && aligned16(z) && aligned16(v);
  const int chunks = column_chunks(rows.rows);
  auto* const pairs = static_cast<ColumnPair*>(at(layout.partial));
  column_sums<kPack<T>>("dist_means", stream, rows.rows, classes, wide, Probabilities<T>{z, v, softmaxes}, pairs);
  dev::launch("dist_means_finish", finish_means, finish_grid(classes), stream, rows.rows, classes, chunks, pairs,
              correlations);
  auto* const triples = static_cast<ColumnTriple*>(at(layout.partial));
  column_sums<kPack<T>>("dist_products", stream, rows.rows, classes, wide, Products<T>{z, v, softmaxes, correlations},
                        triples);
  dev::launch("dist_products_finish", finish_correlations, finish_grid(classes), stream, classes, constant_of(settings),
              chunks, triples, correlations, class_losses);

  if (dz) over_rows(correlations);
  launch_mean_losses(stream, rows.rows, settings, losses, loss, 3, {class_losses, static_cast<int>(classes)});
}

}  // namespace

template <class T>
DistillationKernel dist_loss() {
  return {.workspace_bytes = workspace_bytes, .run = entry<distillation<T>>};
}
template DistillationKernel dist_loss<float>();
template DistillationKernel dist_loss<BFloat16>();

}  // namespace retort::RETORT_BACKEND
