// The soft losses that there are, for tests that go through all of them.
#pragma once

#include <vector>

#include "kernels/soft_loss.h"

namespace retort::test {

/// In the order of kSoftLosses; on request only those whose soft term reads no labels.
inline std::vector<SoftLoss> soft_losses(bool without_labels = false) {
  std::vector<SoftLoss> losses;
  for (const SoftLossRow& row : kSoftLosses)
    if (!without_labels || !row.reads_labels) losses.push_back(row.value);
  return losses;
}

}  // namespace retort::test
