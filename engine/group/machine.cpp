#include "engine/group/machine.h"

#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

namespace retort {
namespace {

/// Its name, and what it drew when it started: names are given twice.
std::string machine() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  return std::string(name.data()) + " " + boot;
}

}  // namespace

MachineShare share_of_machine(Group& group) {
  const std::string here = machine();
  const std::vector<std::string> machines = group.gather(here);
  MachineShare share{.processes = static_cast<int>(std::ranges::count(machines, here))};
#if defined(__linux__)
  // The launcher may have given each process cores of its own.
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = sched_getaffinity(0, sizeof cores, &cores) == 0;
  const std::string mine = here + std::string(reinterpret_cast<const char*>(&cores), sizeof cores);
  const std::vector<std::string> all = group.gather(mine);
  if (known) share.threads = std::max(1, CPU_COUNT(&cores) / static_cast<int>(std::ranges::count(all, mine)));
#endif
  return share;
}

}  // namespace retort
