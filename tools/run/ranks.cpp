#include "tools/run/ranks.h"

#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/group/group.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/cpu/simd/simd.h"
#include "tools/cli/command_line.h"
#include "tools/cli/progress.h"

namespace retort {

void check_ranks(Fingerprint mine) {
  if (group().size() == 1) return;
  mine["version"] = RETORT_VERSION;
  mine["instruction set"] = simd_name(simd_level());
  const std::vector<std::string> all = group().gather(json_text(nlohmann::json(mine)));
  const auto first = nlohmann::json::parse(all[0]).get<Fingerprint>();
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    auto other = nlohmann::json::parse(all[rank]).get<Fingerprint>();
    Fingerprint both = first;
    both.insert(other.begin(), other.end());
    for (const auto& [name, value] : both) {
      const auto expected = first.find(name);
      const std::string before = expected == first.end() ? std::string() : expected->second;
      check(other[name] == before, "rank ", rank, ": was started with ", name, " '", other[name], "', rank 0 with '",
            before, "'; give all the same program, flags and data");
    }
  }
}

void check_command(const std::vector<const Dataset*>& pictures) {
  if (group().size() == 1) return;
  check_ranks({{"the command", command_line()}, {"names or labels of pictures, as a hash:", label_hash(pictures)}});
}

void RunShare::train(const std::function<TrainingRun()>& make) {
  if (number_++ % group().size() != group().rank()) return;
  try {
    const Alone alone;
    run_training(make());
  } catch (const Interrupted&) {
    throw Interrupted{};  // the others train something else
  }
}

std::string label_hash(const std::vector<const Dataset*>& parts) {
  std::string all;
  for (const Dataset* part : parts)
    for (std::int64_t i = 0; part && i < part->size(); ++i)
      all += part->name(i) + '\0' + std::to_string(part->label(i)) + '\n';
  return content_hash({reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
}

}  // namespace retort
