// Cross-entropy, and the distillation loss of kernels/loss.h. The gradient is made in the forward pass, which has all
// of it at hand; backward only multiplies by d(loss).
#include "engine/ops/loss.h"

#include <cmath>

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {
namespace {

void check_labels(const char* op, const char* name, const Tensor& labels, Rows rows) {
  check_operand(op, name, labels, {rows.rows}, DType::i64);
  // On a device the kernel itself answers a label out of range with a loss of NaN.
  if (labels.device() != Device::cpu) return;
  const std::int64_t* label = labels.data<std::int64_t>();
  for (std::int64_t row = 0; row < rows.rows; ++row)
    check(label[row] >= 0 && label[row] < rows.classes, "[", op, "] ", name, "[", row, "] is ", label[row],
          "; give one in [0, ", rows.classes, ")");
}

HardTargets hard_targets(const char* op, const Targets& targets, Rows rows) {
  check(targets.smoothing >= 0 && targets.smoothing < 1, "[", op, "] label smoothing is ", targets.smoothing,
        "; give at least 0 and below 1");
  check_labels(op, "labels", targets.labels, rows);
  if (targets.labels2 || targets.weight) {
    check_labels(op, "labels2", targets.labels2, rows);
    check_operand(op, "the mixup weight", targets.weight, {rows.rows}, DType::f32);
    if (targets.weight.device() == Device::cpu)
      for (const float weight : targets.weight.span<float>())
        check(weight >= 0 && weight <= 1, "[", op, "] a mixup weight is ", weight, "; give one in [0, 1]");
  }
  return {.labels = static_cast<const std::int64_t*>(targets.labels.raw()),
          .labels2 = static_cast<const std::int64_t*>(targets.labels2.raw()),
          .weight = static_cast<const float*>(targets.weight.raw()),
          .smoothing = targets.smoothing};
}

/// Rows of logits; there must be some.
Rows logit_rows(const char* op, const Tensor& logits) {
  check_input(op, logits, 2, "[n, classes]");
  check(logits.count() > 0, "[", op, "] the logits are ", logits.shape(), "; give at least one row and one class");
  return {logits.shape()[0], logits.shape()[1]};
}

/// Records logits' gradient = d(loss) * dz, under the op's name.
void record_loss(Tape& tape, const char* op, Tensor& loss, const Tensor& logits, Tensor dz) {
  loss.require_grad();
  tape.record(op, [slot_loss = loss.slot(), slot_logits = logits.slot(), dz = std::move(dz)]() mutable {
    const Tensor dloss = take_grad(*slot_loss);
    if (!dloss) return;
    kernels(dz).elementwise.scale_by({}, dz.count(), dloss.raw(), dz.raw(), dz.raw());
    accumulate(*slot_logits, std::move(dz));
  });
}

}  // namespace

Targets first_rows(const Targets& targets, std::int64_t count) {
  Targets first = targets;
  for (Tensor* tensor : {&first.labels, &first.labels2, &first.weight})
    if (*tensor) *tensor = tensor->rows(0, count);
  return first;
}

Tensor cross_entropy(const Tensor& logits, const Targets& targets) {
  const Rows rows = logit_rows("cross_entropy", logits);
  const HardTargets hard = hard_targets("cross_entropy", targets, rows);
  Tape* tape = recording({&logits});
  Tensor loss = empty_parameter(logits, {1});
  Tensor dz = tape ? Tensor::empty_like(logits, logits.shape()) : Tensor();
  const LossKernels& kernel = kernels(logits).loss;
  const Workspace workspace(kernel.workspace_bytes(rows), logits.device());
  kernel.cross_entropy({}, rows, hard, logits.raw(), loss.raw(), dz.raw(), workspace.data());

  if (tape) record_loss(*tape, "cross_entropy", loss, logits, std::move(dz));
  return loss;
}

DistillationLoss distillation_loss(const Tensor& student, const Tensor& teacher, const Targets& targets,
                                   const DistillationSettings& settings) {
  const char* const op = "distillation_loss";
  const Rows rows = logit_rows(op, student);
  check_operand(op, "the teacher's logits", teacher, student.shape(), student.dtype());
  check_device(op, student, teacher);
  check(settings.temperature > 0 && std::isfinite(settings.temperature), "[", op, "] the temperature is ",
        settings.temperature, "; give one above 0");
  check(settings.lambda >= 0 && settings.lambda <= 1, "[", op, "] lambda is ", settings.lambda, "; give one in [0, 1]");
  check(settings.soft_weight >= 0 && std::isfinite(settings.soft_weight), "[", op, "] the soft weight is ",
        settings.soft_weight, "; give one from 0");
  check(!settings.standardize || rows.classes > 1, "[", op, "] standardised logits need two classes or more; there is ",
        rows.classes);
  const bool soft_labels = soft_reads_labels(settings.loss);
  check(!soft_labels || !targets.labels2, "[", op, "] ", row_of(settings.loss).word,
        " takes one label a row, and mixup gives two; take another loss");
  // Where the kernel reads lambda itself, it may find one above 0 later.
  const bool labelled = settings.lambda > 0 || soft_labels || (settings.scalars && targets.labels);
  const HardTargets hard = labelled ? hard_targets(op, targets, rows) : HardTargets{};
  Tape* tape = recording({&student});
  DistillationLoss loss{empty_parameter(student, {1}), empty_parameter(student, {3})};
  Tensor dz = tape ? Tensor::empty_like(student, student.shape()) : Tensor();
  const LossKernels& kernel = kernels(student).loss;
  const Workspace workspace(kernel.workspace_bytes(rows), student.device());
  kernel.distillation({}, rows, settings, hard, student.raw(), teacher.raw(), loss.parts.raw(), dz.raw(),
                      workspace.data());
  memory_of(student.device()).copy({}, loss.total.raw(), loss.parts.raw(), loss.total.bytes());

  if (tape) record_loss(*tape, op, loss.total, student, std::move(dz));
  return loss;
}

}  // namespace retort
