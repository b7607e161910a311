// Specialists (Hinton et al., arXiv 1503.02531, section 5): which classes a generalist confuses, and one distribution
// from what the generalist and some specialists say.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// Groups of classes that are predicted together: k-means over the columns of the covariance matrix of
/// softmax(logits / temperature), scaled to unit variances, logits f32 [n, classes] of a generalist. The best of 50
/// starts drawn from `seed` (k-means++), by the sum of squared distances. Every class is in one group; groups in the
/// order of their first class, classes ascending, some groups of one class alone. Throws Error unless 2 <= groups <=
/// classes and n >= 2.
std::vector<std::vector<std::int64_t>> confusable_classes(const Tensor& logits, double temperature, std::int64_t groups,
                                                          std::uint64_t seed);

/// What one specialist says: its classes in ascending order, and logits f32 [n, classes + 1] of which the last is the
/// dustbin's, all other classes in one.
struct SpecialistLogits {
  std::vector<std::int64_t> classes;
  Tensor logits;
};

/// For each row log q, f32 [n, classes], where q minimises KL(p, q) + sum over m of KL(p_m, q): p the generalist's
/// probabilities, p_m those of the specialists among whose classes the generalist's most probable one is, and q's
/// probability of m's dustbin the sum over the classes that are not m's. Found by expectation-maximisation, which
/// splits a dustbin's probability among its classes in proportion to q; it never increases the sum of the divergences.
/// Where no specialist speaks, q = p. Throws Error for shapes that do not fit.
Tensor combine_with_specialists(const Tensor& generalist, const std::vector<SpecialistLogits>& specialists);

}  // namespace retort
