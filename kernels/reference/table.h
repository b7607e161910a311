// The tables of the oracle: obvious loops on the CPU, in float and double, all sums in double.
#pragma once

#include "kernels/table.h"

namespace retort::reference {

/// T is float or double.
template <class T>
const KernelTable& table();

}  // namespace retort::reference
