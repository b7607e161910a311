// Which of a group's processes share a machine.
#pragma once

#include "engine/group/group.h"

namespace retort {

struct MachineShare {
  int processes = 1;  ///< of the group, on this machine
  int threads = 1;    ///< for this one: the cores that it may use, shared with those that may use the same
};

/// Every process of the group calls it.
MachineShare share_of_machine(Group& group);

}  // namespace retort
