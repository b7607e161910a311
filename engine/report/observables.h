// What can be seen in a distillation from logits alone (Hinton et al., arXiv 1503.02531): what the soft targets say,
// and in which samples.
//
// z = student logits, v = teacher logits, f32 [rows, classes] on the CPU; labels i64 [rows].
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// softmax(logits / temperature)
std::vector<double> softened(const std::vector<float>& logits, double temperature);

/// The row of a matrix.
std::vector<float> row_of(const Tensor& matrix, std::int64_t row);

/// Indices of the `count` largest values, the largest first; of equals the lower index first.
std::vector<std::int64_t> largest(const std::vector<float>& values, std::size_t count);
std::vector<std::int64_t> largest(const std::vector<double>& values, std::size_t count);

/// mean[i][j]: the mean of softmax(logits / temperature)_j over the rows whose label is i; NaN for a class without
/// rows.
std::vector<std::vector<double>> mean_by_class(const Tensor& logits, const Tensor& labels, double temperature);

/// A pair of different classes and how much of the first is taken for the second.
struct ConfusedPair {
  std::int64_t truth = 0, other = 0;
  double amount = 0;
};
/// The `count` largest entries off the diagonal that are above 0, the largest first; NaN entries are passed over.
std::vector<ConfusedPair> most_confused(const std::vector<std::vector<double>>& matrix, std::size_t count);

/// For each row KL(p || q) at the temperature, p the teacher's, q the student's distribution.
std::vector<double> disagreement(const Tensor& z, const Tensor& v, double temperature);

/// For each row the entropy, in nats, of softmax(v / temperature) over the wrong classes alone, made to add up to 1:
/// high where the teacher sees many likenesses. Wrong are all classes but the label's, or without labels all but the
/// most probable. 0 with two classes.
std::vector<double> dark_knowledge(const Tensor& v, const Tensor& labels, double temperature);

}  // namespace retort
