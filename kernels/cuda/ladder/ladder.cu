// The list of steps (see ladder.h). A step is a file of this folder and ends with one of the functions below.
#include "kernels/cuda/ladder/ladder.h"

#include <algorithm>

#include "kernels/cuda/distillation.h"
#include "kernels/cuda/table.h"

namespace retort::RETORT_BACKEND {

using ConvolutionStep = decltype(Conv2dKernels::fprop);
ConvolutionStep conv2d_fprop_1_naive();
ConvolutionStep conv2d_fprop_2_tiled();
ConvolutionStep conv2d_fprop_3_registers();
ConvolutionStep conv2d_fprop_4_tensor_cores();

using SoftmaxStep = decltype(SoftmaxKernels::forward);
SoftmaxStep softmax_1_thread_per_row();
SoftmaxStep softmax_2_block_per_row();
SoftmaxStep softmax_3_warp_per_row();

DistillationKernel loss_1_composed();
DistillationKernel loss_2_fused_block();
DistillationKernel loss_3_warp_registers();

namespace {

using Table = const KernelTable& (*)();

LadderStep shipping(const char* name, DType dtype, Table table) {
  LadderStep step{name, dtype, table()};
  step.table.name = name;
  return step;
}

/// The steps need no workspace; the other passes are those of the table.
template <Table kTable>
std::size_t no_fprop_workspace(ConvPass pass, const Conv2dGeometry& g) {
  return pass == ConvPass::fprop ? 0 : kTable().conv2d.workspace_bytes(pass, g);
}

template <Table kTable>
LadderStep conv2d_step(const char* name, ConvolutionStep fprop) {
  LadderStep step = shipping(name, DType::f32, kTable);
  step.table.conv2d.workspace_bytes = no_fprop_workspace<kTable>;
  step.table.conv2d.fprop = fprop;
  return step;
}

LadderStep softmax_step(const char* name, SoftmaxStep forward) {
  LadderStep step = shipping(name, DType::f32, table_f32);
  step.table.softmax.forward = forward;
  return step;
}

/// The steps of the loss are of plain kd; the other losses stay the shipping kernels'.
template <DistillationKernel (*kStep)()>
void plain_kd_by(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                 const void* z, const void* v, void* loss, void* dz, void* workspace) {
  const auto run = is_plain_kd(settings) ? kStep().run : table_f32().loss.distillation;
  run(stream, rows, settings, targets, z, v, loss, dz, workspace);
}

template <DistillationKernel (*kStep)()>
std::size_t loss_workspace_for(Rows rows) {
  return std::max(kStep().workspace_bytes(rows), table_f32().loss.workspace_bytes(rows));
}

template <DistillationKernel (*kStep)()>
LadderStep loss_step(const char* name) {
  LadderStep step = shipping(name, DType::f32, table_f32);
  step.table.loss.workspace_bytes = loss_workspace_for<kStep>;
  step.table.loss.distillation = plain_kd_by<kStep>;
  return step;
}

}  // namespace

std::span<const LadderStep> conv2d_fprop_ladder() {
  static const LadderStep steps[] = {
      conv2d_step<table_f32>("conv2d.1_naive", conv2d_fprop_1_naive()),
      conv2d_step<table_f32>("conv2d.2_tiled", conv2d_fprop_2_tiled()),
      conv2d_step<table_f32>("conv2d.3_registers", conv2d_fprop_3_registers()),
      conv2d_step<table_tf32>("conv2d.4_tensor_cores", conv2d_fprop_4_tensor_cores()),
      shipping("conv2d.5_multistage", DType::f32, table_tf32),
      shipping("conv2d.6_bf16", DType::bf16, table_bf16),
  };
  return steps;
}

std::span<const LadderStep> softmax_ladder() {
  static const LadderStep steps[] = {
      softmax_step("softmax.1_thread_per_row", softmax_1_thread_per_row()),
      softmax_step("softmax.2_block_per_row", softmax_2_block_per_row()),
      softmax_step("softmax.3_warp_per_row", softmax_3_warp_per_row()),
      shipping("softmax.4_registers", DType::f32, table_f32),
  };
  return steps;
}

std::span<const LadderStep> loss_ladder() {
  static const LadderStep steps[] = {
      loss_step<loss_1_composed>("loss.1_composed"),
      loss_step<loss_2_fused_block>("loss.2_fused_block"),
      loss_step<loss_3_warp_registers>("loss.3_warp_registers"),
      shipping("loss.4_wide_loads", DType::f32, table_f32),
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
