// Where the running program's own file lies.
#pragma once

#include <string>

namespace retort {

/// By /proc/self/exe; where there is no /proc, by the path that the program was started with, which is right as long as
/// the working folder is the one of the start.
std::string own_path();

}  // namespace retort
