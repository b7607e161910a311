// The list of steps (see ladder.h).
#include "kernels/cuda/ladder/ladder.h"

#include <algorithm>

#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/ladder/steps.h"
#include "kernels/cuda/loss.h"
#include "kernels/cuda/table.h"

namespace retort::RETORT_BACKEND {
namespace {

LadderStep shipping(const char* name, DType dtype, const KernelTable& table) {
  LadderStep step{name, dtype, table};
  step.table.name = name;
  return step;
}

/// The steps need no workspace; the other passes are those of the table.
template <class Kind>
std::size_t no_fprop_workspace(ConvPass pass, const Conv2dGeometry& g) {
  return pass == ConvPass::fprop ? 0 : conv2d_workspace_bytes<Kind>(pass, g);
}

template <class Kind>
LadderStep conv2d_step(const char* name, const KernelTable& table, decltype(&conv2d_fprop<Kind>) fprop) {
  LadderStep step = shipping(name, DType::f32, table);
  step.table.conv2d.workspace_bytes = no_fprop_workspace<Kind>;
  step.table.conv2d.fprop = fprop;
  return step;
}

LadderStep softmax_step(const char* name, decltype(&softmax_1_thread_per_row) forward) {
  LadderStep step = shipping(name, DType::f32, table_f32());
  step.table.softmax.forward = forward;
  return step;
}

/// Its steps are of plain kd; the other losses stay the shipping kernels'.
template <decltype(&loss_1_composed) kStep>
void plain_kd_by(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                 const void* z, const void* v, void* loss, void* dz, void* workspace) {
  const auto run = is_plain_kd(settings) ? kStep : distillation<float>;
  run(stream, rows, settings, targets, z, v, loss, dz, workspace);
}

template <decltype(&loss_workspace_bytes) kBytes>
std::size_t loss_workspace_for(Rows rows) {
  return std::max(kBytes(rows), loss_workspace_bytes(rows));
}

template <decltype(&loss_1_composed) kStep, decltype(&loss_workspace_bytes) kBytes = loss_workspace_bytes>
LadderStep loss_step(const char* name) {
  LadderStep step = shipping(name, DType::f32, table_f32());
  step.table.loss.workspace_bytes = loss_workspace_for<kBytes>;
  step.table.loss.distillation = plain_kd_by<kStep>;
  return step;
}

}  // namespace

std::span<const LadderStep> conv2d_fprop_ladder() {
  static const LadderStep steps[] = {
      conv2d_step<exact_f32>("conv2d.1_naive", table_f32(), conv2d_fprop_1_naive),
      conv2d_step<exact_f32>("conv2d.2_tiled", table_f32(), conv2d_fprop_2_tiled),
      conv2d_step<exact_f32>("conv2d.3_registers", table_f32(), conv2d_fprop_3_registers),
      conv2d_step<tf32>("conv2d.4_tensor_cores", table_tf32(), conv2d_fprop_4_tensor_cores),
      shipping("conv2d.5_multistage", DType::f32, table_tf32()),
      shipping("conv2d.6_bf16", DType::bf16, table_bf16()),
  };
  return steps;
}

std::span<const LadderStep> softmax_ladder() {
  static const LadderStep steps[] = {
      softmax_step("softmax.1_thread_per_row", softmax_1_thread_per_row),
      softmax_step("softmax.2_block_per_row", softmax_2_block_per_row),
      softmax_step("softmax.3_warp_per_row", softmax_3_warp_per_row),
      shipping("softmax.4_registers", DType::f32, table_f32()),
  };
  return steps;
}

std::span<const LadderStep> loss_ladder() {
  static const LadderStep steps[] = {
      loss_step<loss_1_composed, loss_1_composed_workspace_bytes>("loss.1_composed"),
      loss_step<loss_2_fused_block>("loss.2_fused_block"),
      loss_step<loss_3_warp_registers>("loss.3_warp_registers"),
      shipping("loss.4_wide_loads", DType::f32, table_f32()),
  };
  return steps;
}

const LadderStep* find_ladder_step(std::string_view name) {
  for (const auto& ladder : {conv2d_fprop_ladder(), softmax_ladder(), loss_ladder()})
    for (const LadderStep& step : ladder)
      if (name == step.name) return &step;
  return nullptr;
}

}  // namespace retort::RETORT_BACKEND
