// How this process was started: alone, or as one of several, as the launcher's variables say.
#pragma once

#include <string>

namespace retort {

/// mpirun of Open MPI or MPICH sets variables of its own, torchrun RANK, WORLD_SIZE and LOCAL_RANK, srun SLURM_PROCID,
/// SLURM_STEP_NUM_TASKS and SLURM_LOCALID (not sbatch: its script is one process).
struct Launch {
  int processes = 1, rank = 0;
  int local_rank = 0;         ///< among those of this machine
  std::string by = {};        ///< "mpirun", "torchrun", "srun"; empty: alone
  std::string variable = {};  ///< that says so: "WORLD_SIZE"; whoever unsets it runs alone
  std::string fault = {};     ///< what is wrong with the variables, and whose they are; empty: nothing
  bool mpi() const { return by == "mpirun"; }
};

const Launch& launch();

/// HOST:PORT at which rank 0 listens, from MASTER_ADDR and MASTER_PORT: the next port where torchrun itself listens at
/// that one, which TORCHELASTIC_USE_AGENT_STORE says. Throws UsageError where one of them is missing or no port.
std::string meeting_point();

}  // namespace retort
