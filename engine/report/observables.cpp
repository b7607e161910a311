#include "engine/report/observables.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/check.h"

namespace retort {
namespace {

std::int64_t rows_of(const Tensor& matrix) { return matrix.shape()[0]; }
std::int64_t classes_of(const Tensor& matrix) { return matrix.shape()[1]; }

template <class Value>
std::vector<std::int64_t> largest_of(const std::vector<Value>& values, std::size_t count) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](std::int64_t a, std::int64_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  order.erase(end, order.end());
  return order;
}

}  // namespace

std::vector<double> softened(const std::vector<float>& logits, double temperature) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) sum += p[i] = std::exp((logits[i] - highest) / temperature);
  for (double& value : p) value /= sum;
  return p;
}

std::vector<float> row_of(const Tensor& matrix, std::int64_t row) {
  const float* begin = matrix.data<float>() + row * classes_of(matrix);
  return {begin, begin + classes_of(matrix)};
}

std::vector<std::int64_t> largest(const std::vector<float>& values, std::size_t count) {
  return largest_of(values, count);
}

std::vector<std::int64_t> largest(const std::vector<double>& values, std::size_t count) {
  return largest_of(values, count);
}

std::vector<std::vector<double>> mean_by_class(const Tensor& logits, const Tensor& labels, double temperature) {
  const auto classes = static_cast<std::size_t>(classes_of(logits));
  std::vector<std::vector<double>> mean(classes, std::vector<double>(classes, 0));
  std::vector<double> counts(classes, 0);
  for (std::int64_t row = 0; row < rows_of(logits); ++row) {
    const std::int64_t label = labels.data<std::int64_t>()[row];
    const std::vector<double> p = softened(row_of(logits, row), temperature);
    for (std::size_t j = 0; j < classes; ++j) mean[label][j] += p[j];
    ++counts[label];
  }
  for (std::size_t i = 0; i < classes; ++i)
    for (double& value : mean[i]) value /= counts[i];  // 0 / 0: NaN
  return mean;
}

std::vector<ConfusedPair> most_confused(const std::vector<std::vector<double>>& matrix, std::size_t count) {
  std::vector<ConfusedPair> pairs;
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = 0; j < matrix[i].size(); ++j)
      if (i != j && matrix[i][j] > 0)
        pairs.push_back({static_cast<std::int64_t>(i), static_cast<std::int64_t>(j), matrix[i][j]});
  std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.amount > b.amount; });
  if (pairs.size() > count) pairs.resize(count);
  return pairs;
}

std::vector<double> disagreement(const Tensor& z, const Tensor& v, double temperature) {
  std::vector<double> result;
  for (std::int64_t row = 0; row < rows_of(z); ++row) {
    const std::vector<double> q = softened(row_of(z, row), temperature), p = softened(row_of(v, row), temperature);
    double kl = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
      if (p[i] > 0) kl += p[i] * std::log(p[i] / std::max(q[i], 1e-300));
    result.push_back(kl);
  }
  return result;
}

std::vector<double> dark_knowledge(const Tensor& v, const Tensor& labels, double temperature) {
  std::vector<double> result;
  for (std::int64_t row = 0; row < rows_of(v); ++row) {
    std::vector<float> wrong = row_of(v, row);
    const std::int64_t right = labels ? labels.data<std::int64_t>()[row] : largest(wrong, 1).front();
    wrong.erase(wrong.begin() + right);
    double entropy = 0;
    if (!wrong.empty())
      for (const double p : softened(wrong, temperature))
        if (p > 0) entropy -= p * std::log(p);
    result.push_back(entropy);
  }
  return result;
}

}  // namespace retort
