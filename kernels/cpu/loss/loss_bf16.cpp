#include "kernels/cpu/loss/loss_bf16.h"

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/loss/loss.h"

namespace retort::cpu {
namespace {

/// z, v and dz in f32. They lie behind what the f32 kernels want of the workspace.
class Logits {
 public:
  Logits(Rows rows, void* workspace)
      : count_(rows.rows * rows.classes),
        z_(reinterpret_cast<float*>(static_cast<char*>(workspace) + loss_workspace_bytes(rows))),
        dz_(z_ + 2 * count_) {}
  static std::size_t bytes(Rows rows) {
    return loss_workspace_bytes(rows) + 3 * static_cast<std::size_t>(rows.rows * rows.classes) * sizeof(float);
  }
  /// Null stays null.
  const float* z(Stream stream, const void* source) const { return widened(stream, source, z_); }
  const float* v(Stream stream, const void* source) const { return widened(stream, source, z_ + count_); }
  float* dz(const void* target) const { return target ? dz_ : nullptr; }
  void write_dz(Stream stream, void* target) const {
    if (target) convert(stream, count_, DType::f32, dz_, DType::bf16, target);
  }

 private:
  const float* widened(Stream stream, const void* source, float* target) const {
    if (!source) return nullptr;
    convert(stream, count_, DType::bf16, source, DType::f32, target);
    return target;
  }
  std::int64_t count_;
  float *z_, *dz_;
};

}  // namespace

std::size_t loss_workspace_bytes_bf16(Rows rows) { return Logits::bytes(rows); }

void cross_entropy_bf16(Stream stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz,
                        void* workspace) {
  const Logits logits(rows, workspace);
  cross_entropy(stream, rows, targets, logits.z(stream, z), loss, logits.dz(dz), workspace);
  logits.write_dz(stream, dz);
}

void distillation_bf16(Stream stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                       const void* z, const void* v, void* loss, void* dz, void* workspace) {
  const Logits logits(rows, workspace);
  distillation(stream, rows, settings, targets, logits.z(stream, z), logits.v(stream, v), loss, logits.dz(dz),
               workspace);
  logits.write_dz(stream, dz);
}

}  // namespace retort::cpu
