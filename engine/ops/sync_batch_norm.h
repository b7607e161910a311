// Batch norm's statistics, and its gradient through them, over the batches of all ranks of the group.
#pragma once

#include <cstdint>

#include "engine/core/tensor.h"

namespace retort {

/// Of this rank's x [..., c], whose rows have the share s of all ranks' rows:
///   mean = sum s_r mean_r,   var = sum s_r (var_r + (mean_r - mean)^2)   over the ranks r, in the group's order.
struct RankStatistics {
  Tensor mean, var;       ///< [c]
  std::int64_t rows = 0;  ///< of all ranks
};
RankStatistics statistics_of_ranks(const Tensor& x, double share);

/// 1 / sqrt(var + eps); and running = (1 - momentum) running + momentum (mean or the unbiased variance).
Tensor inverse_deviation(const RankStatistics& statistics, double eps);
void move_running(const RankStatistics& statistics, double momentum, Tensor& running_mean, Tensor& running_var);

/// dx = scaled - gamma inv_std (sum_r dbeta_r + (x - mean) inv_std sum_r dgamma_r) / rows, where `scaled` is gamma
/// inv_std dz, and dgamma and dbeta [c] are this rank's. Overwrites neither.
Tensor gradient_through_ranks(const Tensor& scaled, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& inv_std, const Tensor& dgamma, const Tensor& dbeta, std::int64_t rows);

}  // namespace retort
