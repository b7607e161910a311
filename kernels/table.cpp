#include "kernels/table.h"

#include <stdexcept>
#include <string>

#include "kernels/bfloat16.h"
#include "kernels/cuda/table.h"
#include "kernels/memory.h"
#include "kernels/reference/batch_norm.h"
#include "kernels/reference/conv2d.h"
#include "kernels/reference/dropout.h"
#include "kernels/reference/elementwise.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/loss.h"
#include "kernels/reference/optimizer.h"
#include "kernels/reference/pool.h"
#include "kernels/reference/softmax.h"

namespace retort {
namespace {

template <class T>
constexpr KernelTable reference_table() {
  return {
      .name = "reference",
      .gemm = {.workspace_bytes = reference::gemm_workspace_bytes, .run = reference::gemm_run<T>},
      .conv2d = {.workspace_bytes = reference::conv2d_workspace_bytes,
                 .fprop = reference::conv2d_fprop<T>,
                 .dgrad = reference::conv2d_dgrad<T>,
                 .wgrad = reference::conv2d_wgrad<T>},
      .batch_norm = {.workspace_bytes = reference::batch_norm_workspace_bytes,
                     .forward_train = reference::batch_norm_forward_train<T>,
                     .forward_eval = reference::batch_norm_forward_eval<T>,
                     .fold = reference::batch_norm_fold<T>,
                     .apply = reference::batch_norm_apply<T>,
                     .backward_train = reference::batch_norm_backward_train<T>,
                     .backward_eval = reference::batch_norm_backward_eval<T>},
      .elementwise = {.fill = reference::fill<T>,
                      .add = reference::add<T>,
                      .scale = reference::scale<T>,
                      .relu_forward = reference::relu_forward<T>,
                      .relu_backward = reference::relu_backward<T>,
                      .copy_channels = reference::copy_channels<T>,
                      .convert = reference::convert,
                      .scale_by = reference::scale_by<T>,
                      .sum_rows_workspace_bytes = reference::sum_rows_workspace_bytes,
                      .sum_rows = reference::sum_rows<T>,
                      .shortcut_forward = reference::shortcut_forward<T>,
                      .shortcut_backward = reference::shortcut_backward<T>},
      .pool = {.max_forward = reference::max_pool_forward<T>,
               .max_backward = reference::max_pool_backward<T>,
               .average_forward = reference::average_pool_forward<T>,
               .average_backward = reference::average_pool_backward<T>,
               .adaptive_forward = reference::adaptive_pool_forward<T>,
               .adaptive_backward = reference::adaptive_pool_backward<T>},
      .dropout = {.apply = reference::dropout_apply<T>},
      .softmax = {.forward = reference::softmax_forward<T>, .backward = reference::softmax_backward<T>},
      .loss = {.workspace_bytes = reference::loss_workspace_bytes,
               .cross_entropy = reference::cross_entropy<T>,
               .distillation = reference::distillation<T>},
      .optimizer = {.sgd = reference::sgd<T>,
                    .adam = reference::adam<T>,
                    .workspace_bytes = reference::optimizer_workspace_bytes,
                    .clip = reference::clip<T>,
                    .find_not_finite = reference::find_not_finite<T>},
  };
}

constinit const KernelTable reference_f32 = reference_table<float>();
constinit const KernelTable reference_f64 = reference_table<double>();

}  // namespace

namespace cpu {
template <class T>
const KernelTable& table();
}  // namespace cpu

const KernelTable& kernels_for(Device device, DType dtype) {
  const auto lacks = [&](const char* what) {
    return std::invalid_argument(std::string("kernels_for: ") + to_string(device) + " " + what);
  };
  if (dtype == DType::i64 || dtype == DType::i32) throw lacks("computes in f32, f64 or bf16; integers hold labels");
  const bool on_cpu = device == Device::cpu || device == Device::reference;
  if (device == Device::reference && dtype == DType::bf16) throw lacks("has no bf16 kernels; compute in f32");
  if (on_cpu && dtype == DType::f64) return reference_f64;
  if (device == Device::cpu) return dtype == DType::bf16 ? cpu::table<BFloat16>() : cpu::table<float>();
  if (device == Device::reference) return reference_f32;
  if (dtype == DType::f64) throw lacks("has no f64 kernels; compute in f32 or bf16");
#ifdef RETORT_SIMT
  if (device == Device::simt) return dtype == DType::bf16 ? simt::table_bf16() : simt::table_f32();
#endif
#ifdef RETORT_CUDA
  if (device == Device::cuda) return dtype == DType::bf16 ? cuda::table_bf16() : cuda::table_f32();
#endif
  throw lacks(device_missing(device));
}

}  // namespace retort
