// The group whose processes compute on devices: what join.cpp needs of it.
#pragma once

#include <memory>

#include "engine/group/group.h"

namespace retort {

/// Gradients go from device to device by NCCL. `hosts`: the same processes over MPI, which then hands NCCL's id out and
/// carries what lies in the host's memory; it is taken over, unless this throws. Where it is null the processes meet at
/// meeting_point(), and NCCL carries all. Takes the device of launch().local_rank. Throws UsageError where NCCL cannot
/// be used, std::runtime_error with its text where it fails.
std::unique_ptr<Group> make_nccl_group(Device device, std::unique_ptr<Group>& hosts);

}  // namespace retort
