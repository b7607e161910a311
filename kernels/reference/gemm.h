// The oracle's matrix product (kernels/gemm.h). Like every reference kernel it accumulates in double, whatever T, and
// rounds to T once.
#pragma once

#include "kernels/gemm.h"

namespace retort::reference {

std::size_t gemm_workspace_bytes(const GemmGeometry&);

template <class T>
void gemm_run(Stream, const GemmGeometry& g, const void* a, const void* b, const void* bias, bool relu, void* c,
              void* workspace);

}  // namespace retort::reference
