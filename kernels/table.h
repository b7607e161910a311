// The one seam between the engine and the code that computes: a table of function pointers per backend and dtype.
//
// To try a kernel, copy a table, replace one entry and pass it on: nothing else is needed (see docs/adding-an-op.md).
#pragma once

#include "kernels/activation.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/layer_norm.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/normalize.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/spatial.h"
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
  ActivationKernels activation;
  SpatialKernels spatial;
  LayerNormKernels layer_norm;
  MatmulKernels matmul;
  NormalizeKernels normalize;
};

/// The table of a device for a dtype: cpu f32 and bf16 are the fast ones; reference f32 and f64, and cpu f64, are the
/// oracle; cuda and simt have f32 and bf16. Throws std::invalid_argument for another pair, or a device that this build
/// lacks.
const KernelTable& kernels_for(Device device, DType dtype);

}  // namespace retort
