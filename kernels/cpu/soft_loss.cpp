#include "kernels/cpu/soft_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"

namespace retort::cpu {
namespace {

/// The map from a row's logits to what the loss sees: x -> (x - mean) * inverse.
struct Standard {
  double mean = 0, deviation = 1, inverse = 1;

  Standard(const float* x, std::int64_t classes, bool standardize) {
    if (!standardize) return;
    double sum = 0, square = 0;
    for (std::int64_t i = 0; i < classes; ++i) sum += x[i];
    mean = sum / static_cast<double>(classes);
    for (std::int64_t i = 0; i < classes; ++i) square += (x[i] - mean) * (x[i] - mean);
    deviation = std::sqrt(square / static_cast<double>(classes - 1));
    inverse = 1 / (deviation + kStandardFloor);
  }
  double operator()(float x) const { return (x - mean) * inverse; }
};

/// log sum exp(x / temperature) over all classes but `without`.
double log_sum_exp(const double* x, std::int64_t classes, double temperature, std::int64_t without = -1) {
  double top = -INFINITY;
  for (std::int64_t i = 0; i < classes; ++i)
    if (i != without) top = std::isnan(x[i]) ? x[i] : std::max(top, x[i]);
  double sum = 0;
  for (std::int64_t i = 0; i < classes; ++i)
    if (i != without) sum += std::exp((x[i] - top) / temperature);
  return top / temperature + std::log(sum);
}

/// One row as the loss sees it, standardised or not. `g` receives d(loss)/dz.
struct Row {
  std::int64_t classes, label;
  double temperature;
  const double *z, *v;
  double* g;
};

double mse(const Row& row) {
  double sum = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) {
    const double difference = row.z[i] - row.v[i];
    sum += difference * difference;
    row.g[i] = difference / static_cast<double>(row.classes);
  }
  return sum / 2 / static_cast<double>(row.classes);
}

/// scale * KL(softmax(v / T) || softmax(z / student_temperature)).
double divergence(const Row& row, double student_temperature, double scale) {
  const double log_p = log_sum_exp(row.v, row.classes, row.temperature);
  const double log_q = log_sum_exp(row.z, row.classes, student_temperature);
  double sum = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) {
    const double a = row.v[i] / row.temperature - log_p, b = row.z[i] / student_temperature - log_q, p = std::exp(a);
    sum += p * (a - b);
    row.g[i] = scale * (std::exp(b) - p) / student_temperature;
  }
  return scale * sum;
}

double wttm(const Row& row) {
  const double log_s = log_sum_exp(row.v, row.classes, 1);
  double weight = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) weight += std::exp((row.v[i] - log_s) / row.temperature);
  return divergence(row, 1, weight);
}

double dkd(const Row& row) {
  const double t = row.temperature;
  const std::int64_t y = row.label;
  const double rest_p = log_sum_exp(row.v, row.classes, t, y), rest_q = log_sum_exp(row.z, row.classes, t, y);
  // log p_y and log(1 - p_y) from their own sums: 1 - p_y would lose every digit of a sure teacher.
  const double sum_p = log_sum_exp(row.v, row.classes, t), sum_q = log_sum_exp(row.z, row.classes, t);
  const double log_py = row.v[y] / t - sum_p, log_qy = row.z[y] / t - sum_q;
  const double py = std::exp(log_py), others = std::exp(rest_p - sum_p);
  // With one class nothing is left over, and both terms are 0.
  if (row.classes == 1) return row.g[0] = 0;
  const double target = py * (log_py - log_qy) + others * ((rest_p - sum_p) - (rest_q - sum_q));
  const double gap = std::exp(log_qy) - py;
  double non_target = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) {
    if (i == y) continue;
    const double a = row.v[i] / t - rest_p, b = row.z[i] / t - rest_q, p = std::exp(a), q = std::exp(b);
    non_target += p * (a - b);
    row.g[i] = t * (kDkdOthers * (q - p) - gap * q);
  }
  row.g[y] = t * gap;
  return t * t * (target + kDkdOthers * non_target);
}

double nkd(const Row& row) {
  const double t = row.temperature;
  const std::int64_t y = row.label;
  const double log_s = log_sum_exp(row.z, row.classes, 1);
  const double sure = std::exp(row.v[y] - log_sum_exp(row.v, row.classes, 1));
  if (row.classes == 1) return row.g[0] = 0;
  const double rest_p = log_sum_exp(row.v, row.classes, t, y), rest_q = log_sum_exp(row.z, row.classes, t, y);
  double cross = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) {
    const double s = std::exp(row.z[i] - log_s);
    row.g[i] = sure * (i == y ? s - 1 : s);
    if (i == y) continue;
    const double p = std::exp(row.v[i] / t - rest_p), b = row.z[i] / t - rest_q;
    cross -= p * b;
    row.g[i] += kNkdOthers * t * (std::exp(b) - p);
  }
  return -sure * (row.z[y] - log_s) + kNkdOthers * t * t * cross;
}

double row_loss(const Row& row, SoftLoss loss) {
  switch (loss) {
    case SoftLoss::mse: return mse(row);
    case SoftLoss::dkd: return dkd(row);
    case SoftLoss::nkd: return nkd(row);
    case SoftLoss::ttm: return divergence(row, 1, 1);
    case SoftLoss::wttm: return wttm(row);
    default: return divergence(row, row.temperature, row.temperature * row.temperature);
  }
}

/// CE(p, q) in place of T^2 KL(p || q): plain KD's additive convention, on standardised logits.
double additive_kd(const Row& row) {
  const double kl = divergence(row, row.temperature, 1);
  const double log_p = log_sum_exp(row.v, row.classes, row.temperature);
  double entropy = 0;
  for (std::int64_t i = 0; i < row.classes; ++i) {
    const double a = row.v[i] / row.temperature - log_p;
    entropy -= std::exp(a) * a;
  }
  return kl + entropy;
}

/// Adds scale * d/dz to dz, from the gradient g of what the loss saw.
void add_gradient(const Standard& standard, bool standardized, std::int64_t classes, double scale, const double* g,
                  const float* z, float* dz) {
  double mean = 0, along = 0;
  if (standardized) {
    for (std::int64_t i = 0; i < classes; ++i) {
      mean += g[i] / static_cast<double>(classes);
      along += g[i] * (z[i] - standard.mean);
    }
    const double spread = standard.deviation * static_cast<double>(classes - 1);
    along = spread > 0 ? along * standard.inverse * standard.inverse / spread : 0 * along;
  }
  for (std::int64_t i = 0; i < classes; ++i) {
    double gradient = g[i];
    if (standardized) gradient = (g[i] - mean) * standard.inverse - along * (z[i] - standard.mean);
    dz[i] = static_cast<float>(dz[i] + scale * gradient);
  }
}

/// Pearson's correlation of two vectors from their centred products.
struct Correlation {
  double r, across, along;  ///< dr/db_i = across * a_i - along * b_i, a and b centred
  Correlation(double aa, double ab, double bb) {
    const double norm = std::sqrt((aa + kPearsonFloor) * (bb + kPearsonFloor));
    r = ab / norm;
    across = 1 / norm;
    along = r / (bb + kPearsonFloor);
  }
};

/// x <- softmax(x / temperature)
void softmax(double* x, std::int64_t classes, double temperature) {
  const double log_sum = log_sum_exp(x, classes, temperature);
  for (std::int64_t i = 0; i < classes; ++i) x[i] = std::exp(x[i] / temperature - log_sum);
}

/// The arrays of a workspace: what the loss sees of both nets, its gradient, and what DIST keeps of each class.
struct Space {
  double *z, *v, *g, *columns;
  Space(double* workspace, Rows rows)
      : z(workspace),
        v(z + rows.rows * rows.classes),
        g(v + rows.rows * rows.classes),
        columns(g + rows.rows * rows.classes) {}
};

/// DIST over the batch: p and q replace the logits in the workspace.
double dist(Rows rows, double temperature, const Space& space) {
  const std::int64_t n = rows.rows, classes = rows.classes;
  double *q = space.z, *p = space.v;
  double *mean_p = space.columns, *mean_q = mean_p + classes, *across = mean_q + classes, *along = across + classes;
  parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      softmax(q + row * classes, classes, temperature);
      softmax(p + row * classes, classes, temperature);
    }
  });
  const double row_share = 1 / static_cast<double>(n), column_share = 1 / static_cast<double>(classes);
  double* column_loss = along + classes;
  parallel_for(classes, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j) {
      double a = 0, b = 0, aa = 0, ab = 0, bb = 0;
      for (std::int64_t i = 0; i < n; ++i) a += p[i * classes + j] * row_share, b += q[i * classes + j] * row_share;
      for (std::int64_t i = 0; i < n; ++i) {
        const double x = p[i * classes + j] - a, y = q[i * classes + j] - b;
        aa += x * x, ab += x * y, bb += y * y;
      }
      const Correlation correlation(aa, ab, bb);
      mean_p[j] = a, mean_q[j] = b;
      across[j] = correlation.across * column_share, along[j] = correlation.along * column_share;
      column_loss[j] = 1 - correlation.r;
    }
  });
  double loss = 0;
  for (std::int64_t j = 0; j < classes; ++j) loss += column_loss[j] * column_share;
  for (std::int64_t i = 0; i < n; ++i) {
    const double *a = p + i * classes, *b = q + i * classes;
    double* const g = space.g + i * classes;
    // Probabilities add up to 1: their mean is 1 / classes.
    double aa = 0, ab = 0, bb = 0, inner = 0;
    for (std::int64_t j = 0; j < classes; ++j) {
      const double x = a[j] - column_share, y = b[j] - column_share;
      aa += x * x, ab += x * y, bb += y * y;
    }
    const Correlation correlation(aa, ab, bb);
    loss += (1 - correlation.r) * row_share;
    for (std::int64_t j = 0; j < classes; ++j) {
      const double x = a[j], y = b[j];
      g[j] = -(correlation.across * (x - column_share) - correlation.along * (y - column_share)) * row_share -
             (across[j] * (x - mean_p[j]) - along[j] * (y - mean_q[j]));
      inner += y * g[j];
    }
    // The caller divides by the number of rows, as every other loss wants.
    for (std::int64_t j = 0; j < classes; ++j) g[j] = b[j] * (g[j] - inner) / temperature * static_cast<double>(n);
  }
  return loss;
}

}  // namespace

std::size_t soft_loss_workspace_bytes(Rows rows) {
  return static_cast<std::size_t>((3 * rows.rows + 5) * rows.classes) * sizeof(double);
}

double add_soft_loss(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, const float* z,
                     const float* v, float* dz, double* workspace) {
  constexpr std::int64_t kBlocks = 64;
  const std::int64_t classes = rows.classes;
  const Space space(workspace, rows);
  const double share = 1 / static_cast<double>(rows.rows), scale = weight_of_soft(settings) * share;
  const bool whole_batch = settings.loss == SoftLoss::dist;
  const bool additive = settings.loss == SoftLoss::kd && settings.convention == Convention::additive;
  const auto see = [&](std::int64_t row) {
    const Standard student(z + row * classes, classes, settings.standardize);
    const Standard teacher(v + row * classes, classes, settings.standardize);
    for (std::int64_t i = row * classes; i < (row + 1) * classes; ++i) {
      space.z[i] = student(z[i]);
      space.v[i] = teacher(v[i]);
    }
    return student;
  };
  double loss = 0;
  if (whole_batch) {
    for (std::int64_t row = 0; row < rows.rows; ++row) see(row);
    loss = dist(rows, settings.temperature, space);
  }
  // Rows are summed in a fixed number of blocks, whatever the number of threads.
  const std::int64_t blocks = std::min(kBlocks, rows.rows);
  double partial[kBlocks] = {};
  parallel_tasks(blocks, [&](std::int64_t block, int) {
    for (std::int64_t row = rows.rows * block / blocks; row < rows.rows * (block + 1) / blocks; ++row) {
      const std::int64_t at = row * classes;
      const Standard standard = whole_batch ? Standard(z + at, classes, settings.standardize) : see(row);
      const Row seen{classes, labels ? labels[row] : 0, settings.temperature, space.z + at, space.v + at, space.g + at};
      if (!whole_batch) partial[block] += (additive ? additive_kd(seen) : row_loss(seen, settings.loss)) * share;
      if (dz) add_gradient(standard, settings.standardize, classes, scale, space.g + at, z + at, dz + at);
    }
  });
  for (const double part : partial) loss += part;
  return loss;
}

}  // namespace retort::cpu
