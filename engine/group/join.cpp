// Joining the processes of a launcher. A file of its own: a program that never joins any has neither MPI nor NCCL in
// it.
#include <utility>

#include "engine/core/check.h"
#include "engine/group/joined.h"
#include "engine/group/launch.h"
#include "kernels/memory.h"
#ifdef RETORT_HAVE_MPI
#include "engine/group/mpi_group.h"
#endif
#ifdef RETORT_HAVE_NCCL
#include "engine/group/nccl_group.h"
#endif

namespace retort {

void join_group() {
  if (!launch().fault.empty()) throw UsageError(launch().fault);
  if (!launch().mpi() || group().size() > 1) return;
#ifdef RETORT_HAVE_MPI
  joined_group() = make_mpi_group();
#else
  throw UsageError(
      "mpirun: this build has no MPI, and each process would do all of the work; configure it with -DRETORT_MPI=ON "
      "where MPI is installed (Debian and Ubuntu: libopenmpi-dev), or leave mpirun out");
#endif
}

void join_devices(Device device) {
  static bool joined = false;
  if (launch().processes == 1 || std::exchange(joined, true)) return;
  if (device == Device::cpu || device == Device::reference) {
    if (launch().mpi()) return;
    throw UsageError(text("--device: ", launch().by, " started ", launch().processes,
                          " processes, and on the CPU it is MPI that carries what they tell each other; start them "
                          "with mpirun, compute on GPUs, or unset ",
                          launch().variable, " for runs of their own"));
  }
#ifdef RETORT_HAVE_NCCL
  std::unique_ptr<Group> none;
  joined_group() = make_nccl_group(device, launch().mpi() ? joined_group() : none);
#else
  throw UsageError(text("--device: several processes on ", to_string(device),
                        " need NCCL, which this build lacks: its headers were not there; start them with mpirun and "
                        "--device cpu"));
#endif
}

}  // namespace retort
