// The group over MPI: what join.cpp needs of it, so that mpi.h is included in one place.
#pragma once

#include <memory>

#include "engine/group/group.h"

namespace retort {

/// Initialises MPI.
std::unique_ptr<Group> make_mpi_group();

}  // namespace retort
