// The CPU backend's GEMM, in f32 and in bf16 with sums in f32; kernels/gemm.h has the contract.
#pragma once

#include "kernels/gemm.h"

namespace retort::cpu {

/// Scratch for the present num_threads(); asked for again when that changes. T: of A and B, float or BFloat16.
template <class T>
std::size_t gemm_workspace_bytes(const GemmGeometry& geometry);
template <class T>
void gemm_run(Stream stream, const GemmGeometry& geometry, const void* a, const void* b, const void* bias, bool relu,
              void* c, void* workspace);

}  // namespace retort::cpu
