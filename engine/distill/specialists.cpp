#include "engine/distill/specialists.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/core/random.h"

namespace retort {
namespace {

using Vector = std::vector<double>;

constexpr int kStarts = 50, kMaxRounds = 100;  // of k-means
constexpr int kMaxSteps = 1000;                // of expectation-maximisation
constexpr double kConverged = 1e-10;           // largest change of a probability in a step
constexpr double kMinProbability = 1e-30;      // whose logarithm is still a plain float

Vector softmax(const float* logits, std::int64_t count, double temperature) {
  const double top = *std::max_element(logits, logits + count);
  Vector p(static_cast<std::size_t>(count));
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp((logits[i] - top) / temperature);
  for (double& value : p) value /= sum;
  return p;
}

double squared_distance(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// The covariance matrix of the probabilities, scaled to unit variances: the columns of classes that are never confused
/// are then equally far apart, where the covariances themselves put those of little variance together.
std::vector<Vector> correlation(const Tensor& logits, double temperature) {
  const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  const auto size = static_cast<std::size_t>(classes);
  Vector mean(size, 0);
  std::vector<Vector> products(size, Vector(size, 0));
  for (std::int64_t row = 0; row < rows; ++row) {
    const Vector p = softmax(logits.data<float>() + row * classes, classes, temperature);
    for (std::size_t i = 0; i < size; ++i) {
      mean[i] += p[i];
      for (std::size_t j = 0; j < size; ++j) products[i][j] += p[i] * p[j];
    }
  }
  const auto n = static_cast<double>(rows);
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) products[i][j] = products[i][j] / n - mean[i] / n * (mean[j] / n);
  Vector deviation;
  for (std::size_t i = 0; i < size; ++i) deviation.push_back(std::sqrt(std::max(products[i][i], kMinProbability)));
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) products[i][j] /= deviation[i] * deviation[j];
  return products;
}

/// Indices of `points`, spread out: each new one with a probability in proportion to its squared distance from those
/// chosen (k-means++, Arthur & Vassilvitskii 2007).
std::vector<Vector> first_centres(const std::vector<Vector>& points, std::int64_t count, Random& random) {
  std::vector<Vector> centres = {points[random.below(points.size())]};
  while (static_cast<std::int64_t>(centres.size()) < count) {
    Vector weight(points.size(), std::numeric_limits<double>::infinity());
    double all = 0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      for (const Vector& centre : centres) weight[i] = std::min(weight[i], squared_distance(points[i], centre));
      all += weight[i];
    }
    double at = random.uniform() * all;
    std::size_t chosen = 0;
    while (chosen + 1 < points.size() && at >= weight[chosen]) at -= weight[chosen++];
    centres.push_back(points[chosen]);
  }
  return centres;
}

struct Grouping {
  std::vector<std::size_t> group;  ///< of each point
  double inertia = std::numeric_limits<double>::infinity();
};

Grouping nearest(const std::vector<Vector>& points, const std::vector<Vector>& centres) {
  Grouping result{std::vector<std::size_t>(points.size()), 0};
  for (std::size_t i = 0; i < points.size(); ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t c = 0; c < centres.size(); ++c) {
      const double distance = squared_distance(points[i], centres[c]);
      if (distance >= least) continue;
      least = distance;
      result.group[i] = c;
    }
    result.inertia += least;
  }
  return result;
}

/// Lloyd's algorithm; a centre that loses all its points stays where it is.
Grouping k_means(const std::vector<Vector>& points, std::int64_t count, Random random) {
  std::vector<Vector> centres = first_centres(points, count, random);
  Grouping grouping = nearest(points, centres);
  for (int round = 0; round < kMaxRounds; ++round) {
    for (std::size_t c = 0; c < centres.size(); ++c) {
      Vector mean(points.front().size(), 0);
      double members = 0;
      for (std::size_t i = 0; i < points.size(); ++i) {
        if (grouping.group[i] != c) continue;
        ++members;
        for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += points[i][k];
      }
      if (members == 0) continue;
      for (double& value : mean) value /= members;
      centres[c] = std::move(mean);
    }
    Grouping next = nearest(points, centres);
    if (next.group == grouping.group) return next;
    grouping = std::move(next);
  }
  return grouping;
}

/// A specialist's view of one row: its probabilities, the dustbin's last.
struct Opinion {
  const std::vector<std::int64_t>* classes;
  Vector p;
};

/// The q of combine_with_specialists for one row.
Vector agree(const Vector& generalist, const std::vector<Opinion>& opinions) {
  Vector q = generalist;
  for (int step = 0; step < kMaxSteps; ++step) {
    Vector next = generalist;
    for (const Opinion& opinion : opinions) {
      // What is not the specialist's shares its dustbin in proportion to q.
      double others = 1;
      for (const std::int64_t i : *opinion.classes) others -= q[i];
      const double share = opinion.p.back() / std::max(others, kMinProbability);
      Vector part(q.size());
      for (std::size_t i = 0; i < q.size(); ++i) part[i] = share * q[i];
      for (std::size_t k = 0; k < opinion.classes->size(); ++k) part[(*opinion.classes)[k]] = opinion.p[k];
      for (std::size_t i = 0; i < q.size(); ++i) next[i] += part[i];
    }
    double sum = 0, change = 0;
    for (const double value : next) sum += value;
    for (std::size_t i = 0; i < q.size(); ++i) {
      next[i] /= sum;
      change = std::max(change, std::fabs(next[i] - q[i]));
    }
    q = std::move(next);
    if (change < kConverged) break;
  }
  return q;
}

}  // namespace

std::vector<std::vector<std::int64_t>> confusable_classes(const Tensor& logits, double temperature, std::int64_t groups,
                                                          std::uint64_t seed) {
  const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  check(groups >= 2 && groups <= classes, "specialists: ", groups, " groups of ", classes,
        " classes; choose at least 2 and at most one for each class");
  check(rows >= 2, "specialists: ", rows, " images; covariances take two or more");
  const std::vector<Vector> columns = correlation(logits, temperature);
  Grouping best;
  for (int start = 0; start < kStarts; ++start) {
    Grouping found = k_means(columns, groups, Random::of(seed, "specialists", start));
    if (found.inertia < best.inertia) best = std::move(found);
  }
  std::vector<std::vector<std::int64_t>> result;
  std::vector<std::ptrdiff_t> place(static_cast<std::size_t>(groups), -1);
  for (std::int64_t i = 0; i < classes; ++i) {
    std::ptrdiff_t& at = place[best.group[i]];
    if (at < 0) {
      at = static_cast<std::ptrdiff_t>(result.size());
      result.emplace_back();
    }
    result[at].push_back(i);
  }
  return result;
}

Tensor combine_with_specialists(const Tensor& generalist, const std::vector<SpecialistLogits>& specialists) {
  const std::int64_t rows = generalist.shape()[0], classes = generalist.shape()[1];
  for (const SpecialistLogits& specialist : specialists) {
    const auto own = static_cast<std::int64_t>(specialist.classes.size());
    check(specialist.logits.shape() == Shape({rows, own + 1}), "specialists: logits of shape ",
          specialist.logits.shape(), " for ", own, " classes and a dustbin over ", rows, " images");
    check(own >= 1 && own < classes && specialist.classes.front() >= 0 && specialist.classes.back() < classes,
          "specialists: classes out of range, or all of them");
  }
  Tensor result = Tensor::empty({rows, classes});
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* logits = generalist.data<float>() + row * classes;
    const std::int64_t top = std::max_element(logits, logits + classes) - logits;
    std::vector<Opinion> opinions;
    for (const SpecialistLogits& specialist : specialists) {
      if (!std::ranges::binary_search(specialist.classes, top)) continue;
      const auto width = static_cast<std::int64_t>(specialist.classes.size()) + 1;
      opinions.push_back({&specialist.classes, softmax(specialist.logits.data<float>() + row * width, width, 1)});
    }
    const Vector q = agree(softmax(logits, classes, 1), opinions);
    for (std::int64_t i = 0; i < classes; ++i)
      result.data<float>()[row * classes + i] = static_cast<float>(std::log(std::max(q[i], kMinProbability)));
  }
  return result;
}

}  // namespace retort
