// The kernels of the ladder that are not the shipping ones, each with the signature of its entry in a KernelTable and
// in a file of its own. Elements are f32. Convolutions need no workspace.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/cuda/backend.h"
#include "kernels/loss.h"
#include "kernels/softmax.h"

namespace retort::RETORT_BACKEND {

void conv2d_fprop_1_naive(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue,
                          void* y, void* workspace);
void conv2d_fprop_2_tiled(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue,
                          void* y, void* workspace);
void conv2d_fprop_3_registers(Stream, const Conv2dGeometry& g, const void* x, const void* w,
                              const ConvEpilogue& epilogue, void* y, void* workspace);
void conv2d_fprop_4_tensor_cores(Stream, const Conv2dGeometry& g, const void* x, const void* w,
                                 const ConvEpilogue& epilogue, void* y, void* workspace);

void softmax_1_thread_per_row(Stream, Rows rows, double temperature, const void* x, void* y);
void softmax_2_block_per_row(Stream, Rows rows, double temperature, const void* x, void* y);
void softmax_3_warp_per_row(Stream, Rows rows, double temperature, const void* x, void* y);

std::size_t loss_1_composed_workspace_bytes(Rows);
void loss_1_composed(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
                     const void* v, void* loss, void* dz, void* workspace);
/// Its workspace, and that of the next, is the shipping kernel's: a loss per row.
void loss_2_fused_block(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                        const void* z, const void* v, void* loss, void* dz, void* workspace);
void loss_3_warp_registers(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                           const void* z, const void* v, void* loss, void* dz, void* workspace);

}  // namespace retort::RETORT_BACKEND
