#include "engine/group/launch.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "engine/core/check.h"

namespace retort {
namespace {

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Launcher {
  const char *name, *processes, *rank, *local_rank;
};

constexpr Launcher kLaunchers[] = {
    {"mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"mpirun", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"},
    {"torchrun", "WORLD_SIZE", "RANK", "LOCAL_RANK"},
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"}};

Launch read_variables() {
  for (const Launcher& launcher : kLaunchers) {
    if (!std::getenv(launcher.processes) || !std::getenv(launcher.rank)) continue;
    Launch found{.by = launcher.name, .variable = launcher.processes};
    const auto read = [&](const char* name, int least, int& into) {
      const char* const value = std::getenv(name);
      if (!value) return;
      const std::optional<int> number = whole_number(value);
      if (number && *number >= least)
        into = *number;
      else if (found.fault.empty())
        found.fault = text(name, ": is '", value, "', expected a whole number from ", least,
                           "; start the processes with ", launcher.name, ", or unset ", launcher.processes);
    };
    read(launcher.processes, 1, found.processes);
    if (found.fault.empty() && found.processes == 1) return {};
    read(launcher.rank, 0, found.rank);
    read(launcher.local_rank, 0, found.local_rank);
    if (found.fault.empty() && found.rank >= found.processes)
      found.fault = text(launcher.rank, ": is ", found.rank, " where ", launcher.processes, " is ", found.processes,
                         "; ranks count from 0");
    if (!found.fault.empty()) found.rank = 0;  // whoever finds it says it
    return found;
  }
  return {};
}

}  // namespace

const Launch& launch() {
  static const Launch found = read_variables();
  return found;
}

std::string meeting_point() {
  const char *const host = std::getenv("MASTER_ADDR"), *const given = std::getenv("MASTER_PORT");
  for (const auto& [name, value] : {std::pair{"MASTER_ADDR", host}, std::pair{"MASTER_PORT", given}})
    if (!value || !*value)
      throw UsageError(text(name,
                            ": is not set, and the processes find each other at MASTER_ADDR:MASTER_PORT; set "
                            "both to rank 0's machine and a free port of it"));
  const std::optional<int> port = whole_number(given);
  if (!port || *port < 1 || *port > 65534)
    throw UsageError(text("MASTER_PORT: '", given, "' is no port; give a free one of rank 0's machine, up to 65534"));
  const char* const torchrun_listens = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const bool taken = torchrun_listens && std::string_view(torchrun_listens) == "True";
  const bool ipv6 = std::string_view(host).find(':') != std::string_view::npos;
  return text(ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", *port + (taken ? 1 : 0));
}

}  // namespace retort
