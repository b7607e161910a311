#include "kernels/table.h"

#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/cpu/batch_norm.h"
#include "kernels/cpu/conv/conv2d.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/loss/loss.h"
#include "kernels/cpu/loss/loss_bf16.h"
#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cuda/table.h"
#include "kernels/memory.h"
#include "kernels/reference/table.h"

namespace retort {
namespace {

template <class T>
constexpr LossKernels cpu_losses() {
  if constexpr (std::is_same_v<T, BFloat16>)
    return {.workspace_bytes = cpu::loss_workspace_bytes_bf16,
            .cross_entropy = cpu::cross_entropy_bf16,
            .distillation = cpu::distillation_bf16};
  else
    return {.workspace_bytes = cpu::loss_workspace_bytes,
            .cross_entropy = cpu::cross_entropy,
            .distillation = cpu::distillation};
}

template <class T>
constexpr KernelTable cpu_table(const char* name) {
  return {
      .name = name,
      .gemm = {.workspace_bytes = cpu::gemm_workspace_bytes<T>, .run = cpu::gemm_run<T>},
      .conv2d = {.workspace_bytes = cpu::conv2d_workspace_bytes<T>,
                 .fprop = cpu::conv2d_fprop<T>,
                 .dgrad = cpu::conv2d_dgrad<T>,
                 .wgrad = cpu::conv2d_wgrad<T>},
      .batch_norm = {.workspace_bytes = cpu::batch_norm_workspace_bytes,
                     .forward_train = cpu::batch_norm_forward_train<T>,
                     .forward_eval = cpu::batch_norm_forward_eval<T>,
                     .fold = cpu::batch_norm_fold,
                     .apply = cpu::batch_norm_apply<T>,
                     .backward_train = cpu::batch_norm_backward_train<T>,
                     .backward_eval = cpu::batch_norm_backward_eval<T>},
      .elementwise = {.fill = cpu::fill<T>,
                      .add = cpu::add<T>,
                      .scale = cpu::scale<T>,
                      .relu_forward = cpu::relu_forward<T>,
                      .relu_backward = cpu::relu_backward<T>,
                      .copy_channels = cpu::copy_channels<T>,
                      .convert = cpu::convert,
                      .scale_by = cpu::scale_by<T>,
                      .sum_rows_workspace_bytes = cpu::sum_rows_workspace_bytes,
                      .sum_rows = cpu::sum_rows<T>,
                      .shortcut_forward = cpu::shortcut_forward<T>,
                      .shortcut_backward = cpu::shortcut_backward<T>},
      .pool = {.max_forward = cpu::max_pool_forward<T>,
               .max_backward = cpu::max_pool_backward<T>,
               .average_forward = cpu::average_pool_forward<T>,
               .average_backward = cpu::average_pool_backward<T>,
               .adaptive_forward = cpu::adaptive_pool_forward<T>,
               .adaptive_backward = cpu::adaptive_pool_backward<T>},
      .dropout = {.apply = cpu::dropout_apply<T>},
      .softmax = {.forward = cpu::softmax_forward<T>, .backward = cpu::softmax_backward<T>},
      .loss = cpu_losses<T>(),
      .optimizer = {.sgd = cpu::sgd,
                    .adam = cpu::adam,
                    .workspace_bytes = cpu::optimizer_workspace_bytes,
                    .clip = cpu::clip,
                    .find_not_finite = cpu::find_not_finite},
  };
}

constinit const KernelTable cpu_f32 = cpu_table<float>("cpu");
constinit const KernelTable cpu_bf16 = cpu_table<BFloat16>("cpu_bf16");

}  // namespace

const KernelTable& kernels_for(Device device, DType dtype) {
  const auto lacks = [&](const char* what) {
    return std::invalid_argument(std::string("kernels_for: ") + to_string(device) + " " + what);
  };
  if (dtype == DType::i64 || dtype == DType::i32) throw lacks("computes in f32, f64 or bf16; integers hold labels");
  const bool on_cpu = device == Device::cpu || device == Device::reference;
  if (device == Device::reference && dtype == DType::bf16) throw lacks("has no bf16 kernels; compute in f32");
  if (on_cpu && dtype == DType::f64) return reference::table<double>();
  if (device == Device::cpu) return dtype == DType::bf16 ? cpu_bf16 : cpu_f32;
  if (device == Device::reference) return reference::table<float>();
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
