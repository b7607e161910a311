// Puts the families of the oracle's kernels together: each is one file of this folder and ends with one of these.
#include "kernels/reference/table.h"

namespace retort::reference {

template <class T>
GemmKernels gemm();
template <class T>
Conv2dKernels conv2d();
template <class T>
BatchNormKernels batch_norm();
template <class T>
ElementwiseKernels elementwise();
template <class T>
PoolKernels pool();
template <class T>
DropoutKernels dropout();
template <class T>
SoftmaxKernels softmax();
template <class T>
LossKernels loss();
template <class T>
OptimizerKernels optimizer();
template <class T>
ActivationKernels activation();
template <class T>
SpatialKernels spatial();
template <class T>
LayerNormKernels layer_norm();
template <class T>
MatmulKernels matmul();
template <class T>
NormalizeKernels normalize();

template <class T>
const KernelTable& table() {
  static const KernelTable instance = {.name = "reference",
                                       .gemm = gemm<T>(),
                                       .conv2d = conv2d<T>(),
                                       .batch_norm = batch_norm<T>(),
                                       .elementwise = elementwise<T>(),
                                       .pool = pool<T>(),
                                       .dropout = dropout<T>(),
                                       .softmax = softmax<T>(),
                                       .loss = loss<T>(),
                                       .optimizer = optimizer<T>(),
                                       .activation = activation<T>(),
                                       .spatial = spatial<T>(),
                                       .layer_norm = layer_norm<T>(),
                                       .matmul = matmul<T>(),
                                       .normalize = normalize<T>()};
  return instance;
}
template const KernelTable& table<float>();
template const KernelTable& table<double>();

}  // namespace retort::reference
