// The tables of the CUDA kernels. Compiled twice, as all of this folder: for the device and for the simulator.
#include "kernels/cuda/table.h"

#include "kernels/bfloat16.h"
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/loss.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/pool.h"
#include "kernels/cuda/softmax.h"

namespace retort::RETORT_BACKEND {
namespace {

/// T: of the elements; Kind: how products are multiplied.
template <class T, class Kind>
constexpr KernelTable table(const char* name) {
  return {
      .name = name,
      .gemm = {.workspace_bytes = gemm_workspace_bytes<Kind>, .run = gemm_run<Kind>},
      .conv2d = {.workspace_bytes = conv2d_workspace_bytes<Kind>,
                 .fprop = conv2d_fprop<Kind>,
                 .dgrad = conv2d_dgrad<Kind>,
                 .wgrad = conv2d_wgrad<Kind>},
      .batch_norm = {.workspace_bytes = batch_norm_workspace_bytes,
                     .forward_train = batch_norm_forward_train<T>,
                     .forward_eval = batch_norm_forward_eval<T>,
                     .fold = batch_norm_fold,
                     .apply = batch_norm_apply<T>,
                     .backward_train = batch_norm_backward_train<T>,
                     .backward_eval = batch_norm_backward_eval<T>},
      .elementwise = {.fill = fill<T>,
                      .add = add<T>,
                      .scale = scale<T>,
                      .relu_forward = relu_forward<T>,
                      .relu_backward = relu_backward<T>,
                      .copy_channels = copy_channels<T>,
                      .convert = convert,
                      .scale_by = scale_by<T>,
                      .sum_rows_workspace_bytes = sum_rows_workspace_bytes,
                      .sum_rows = sum_rows<T>,
                      .shortcut_forward = shortcut_forward<T>,
                      .shortcut_backward = shortcut_backward<T>},
      .pool = {.max_forward = max_pool_forward<T>,
               .max_backward = max_pool_backward<T>,
               .average_forward = average_pool_forward<T>,
               .average_backward = average_pool_backward<T>,
               .adaptive_forward = adaptive_pool_forward<T>,
               .adaptive_backward = adaptive_pool_backward<T>},
      .dropout = {.apply = dropout_apply<T>},
      .softmax = {.forward = softmax_forward<T>, .backward = softmax_backward<T>},
      .loss = {.workspace_bytes = loss_workspace_bytes,
               .cross_entropy = cross_entropy<T>,
               .distillation = distillation<T>},
      .optimizer = {.sgd = sgd,
                    .adam = adam,
                    .workspace_bytes = optimizer_workspace_bytes,
                    .clip = clip,
                    .find_not_finite = find_not_finite},
  };
}

}  // namespace

#if defined(__CUDACC__)
#define RETORT_NAME "cuda"
#else
#define RETORT_NAME "simt"
#endif

const KernelTable& table_f32() {
  static constexpr KernelTable instance = table<float, exact_f32>(RETORT_NAME);
  return instance;
}

const KernelTable& table_tf32() {
  static constexpr KernelTable instance = table<float, tf32>(RETORT_NAME "_tf32");
  return instance;
}

const KernelTable& table_bf16() {
  static constexpr KernelTable instance = table<BFloat16, bf16>(RETORT_NAME "_bf16");
  return instance;
}

}  // namespace retort::RETORT_BACKEND
