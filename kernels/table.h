// The one seam between the engine and the code that computes: a table of function pointers per backend and dtype.
//
// To try a kernel, copy a table, replace one entry and pass it on: nothing else is needed (see docs/adding-an-op.md).
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/types.h"

namespace retort {

struct KernelTable {
  const char* name;  ///< "cpu", "reference", ...
  GemmKernels gemm;
  Conv2dKernels conv2d;
  BatchNormKernels batch_norm;
  ElementwiseKernels elementwise;
  PoolKernels pool;
  DropoutKernels dropout;
  SoftmaxKernels softmax;
  LossKernels loss;
  OptimizerKernels optimizer;
};

/// The table of a device for a dtype: cpu f32 and bf16 are the fast ones; reference f32 and f64, and cpu f64, are the
/// oracle; cuda and simt have f32 and bf16. Throws std::invalid_argument for another pair, or a device that this build
/// has not.
const KernelTable& kernels_for(Device device, DType dtype);

/// Number of threads the CPU backend uses (>= 1); default: the cores this process may run on. Results depend on it
/// only through the order of partial sums. Not to be called while kernels run. Throws std::runtime_error where the
/// machine does not start so many.
void set_num_threads(int threads);
int num_threads();

/// Whether the CPU's convolutions of 3 x 3, 1 x 7 ... at unit stride may run by Winograd's algorithm (default: they
/// do), which is faster and rounds a little more; see docs/numerics.md. Not to be called while kernels run.
void set_winograd_enabled(bool on);
bool winograd_enabled();

}  // namespace retort
