// Where this process's group is kept, for those that join one.
#pragma once

#include <memory>

#include "engine/group/group.h"

namespace retort {

/// What group() gives: of one process, until another is put there.
std::unique_ptr<Group>& joined_group();

}  // namespace retort
