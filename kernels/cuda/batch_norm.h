// Batch normalisation for CUDA and the simulator (contract: kernels/batch_norm.h). T is float or BFloat16.
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/cuda/backend.h"

namespace retort::RETORT_BACKEND {

std::size_t batch_norm_workspace_bytes(const BatchNormGeometry&);

template <class T>
void batch_norm_forward_train(Stream, const BatchNormGeometry& g, const BatchNormForward& f, double momentum,
                              void* mean, void* inv_std, void* running_mean, void* running_var, void* workspace);

template <class T>
void batch_norm_forward_eval(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* running_mean,
                             const void* running_var, void* mean, void* inv_std, void* workspace);

void batch_norm_fold(Stream, std::int64_t channels, const void* gamma, const void* beta, const void* running_mean,
                     const void* running_var, double eps, const void* bias, void* scale, void* shift);
template <class T>
void batch_norm_apply(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* mean,
                      const void* inv_std, void* workspace);

template <class T>
void batch_norm_backward_train(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace);

template <class T>
void batch_norm_backward_eval(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace);

}  // namespace retort::RETORT_BACKEND
