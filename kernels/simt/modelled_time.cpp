// The parts of a chip, and which of them takes longest (kernels/simt/modelled_time.h).
#include "kernels/simt/modelled_time.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>

namespace retort::simt {

ModelledTime modelled_time(const KernelCounts& kernel, const Chip& chip) {
  const Counts& c = kernel.counts;
  const double blocks = static_cast<double>(kernel.grid.x) * kernel.grid.y * kernel.grid.z;
  const double busy = std::min(blocks, chip.multiprocessors) * chip.clock,
               share = std::min(blocks, chip.multiprocessors) / chip.multiprocessors;
  const auto sum = [](auto... counts) { return (0.0 + ... + static_cast<double>(counts)); };
  const ModelledTime parts[] = {
      {kSectorBytes * sum(c.unique_load_sectors, c.unique_store_sectors) / (chip.memory * kMemoryShare), "memory"},
      // Copies go past the first cache, stores through it; of what a block loads again it is taken to hold all.
      {kSectorBytes * sum(c.block_load_sectors, c.copy.sectors, c.store.sectors) / (busy * kL2Bytes), "L2"},
      {sum(c.load.lines, c.store.lines, c.shared_load.wavefronts, c.shared_store.wavefronts, c.shared_copy.wavefronts) /
           busy,
       "wavefronts"},
      {sum(c.tensor_flops_16) / (chip.tensor_16 * kTensorShare * share) +
           sum(c.tensor_flops_tf32) / (chip.tensor_tf32 * kTensorShare * share),
       "tensor"}};
  const ModelledTime longest = *std::max_element(std::begin(parts), std::end(parts),
                                                 [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  return longest.seconds > 0 ? longest : ModelledTime{};
}

ModelledTime modelled_time(std::span<const KernelCounts> kernels, const Chip& chip) {
  std::map<std::string_view, double> of_bound;
  ModelledTime all;
  for (const KernelCounts& kernel : kernels) {
    const ModelledTime time = modelled_time(kernel, chip);
    all.seconds += time.seconds;
    const double spent = of_bound[time.bound] += time.seconds;
    if (*all.bound == 0 || spent > of_bound[all.bound]) all.bound = time.bound;
  }
  return all;
}

}  // namespace retort::simt
