// Batch normalisation on the CPU, of activations of type T, float or BFloat16; sums and what belongs to a channel are
// f32 and double (contract: kernels/batch_norm.h).
//
// The kernels are bound by memory, so each sweeps the activations as seldom as it can: forward reads x once for the
// statistics and once to normalise; backward reads x and dy (y too after a residual) once for the sums and once for dx.
// The second sweep runs backwards through the rows, as the last ones read are still in the cache.
//
// Rows are cut into ranges whose number depends on the shape alone, and sums are added range by range: the result does
// not depend on the number of threads.
#pragma once

#include "kernels/batch_norm.h"

namespace retort::cpu {

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

}  // namespace retort::cpu
