// Where in the source an instruction of a kernel comes from. Internal to the simulator.
#pragma once

#include <string>

#include "kernels/simt/races.h"

namespace retort::simt {

/// Of a return address: the call before it is meant.
CodePlace code_place(const void* return_address);

/// "conv2d.cu:120", or empty where that cannot be told: binutils' addr2line reads it from the program's line tables.
std::string source_line(CodePlace place);

}  // namespace retort::simt
