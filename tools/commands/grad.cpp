// retort grad: the loss of one batch and the gradient of every parameter.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/layout.h"
#include "engine/io/npy.h"
#include "engine/ops/dropout.h"
#include "engine/ops/loss.h"
#include "models/graph/int8_layers.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/arrays.h"
#include "tools/run/distillation.h"

namespace retort {
namespace {

constexpr Word<bool> kModes[] = {{true, "train"}, {false, "eval"}};

struct GradOptions {
  CommonOptions common;
  std::string model, weights, input, labels, teacher_logits, out;
  double temperature = 4;
  std::optional<double> lambda;
  Convention convention = Convention::convex;
  bool training = true;
  std::optional<double> dropout;
};

template <class Visitor>
void visit_flags(GradOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  flag("--input", o.input, "Normalised images, .npy float32 [N, C, H, W]", required(anything()));
  flag("--labels", o.labels, "Labels, .npy int64 [N]", anything());
  flag("--teacher-logits", o.teacher_logits,
       "Teacher logits, .npy float32 [N, classes]; without them the loss is plain cross-entropy", anything());
  flag("--temperature", o.temperature, "T of the soft targets", number_above(0));
  flag("--lambda", o.lambda, ObjectiveFlags{}.lambda, number_in("[0, 1]"));
  flag("--convention", o.convention, "{}", one_of(kConventions));
  flag("--mode", o.training, "train (batch statistics, dropout) or eval", one_of(kModes));
  flag("--dropout", o.dropout, "Probability in [0, 1), in place of the network's own", number_in("[0, 1)"));
  flag("-o,--out", o.out, "Gradients to write, .safetensors", required(anything()));
}

struct Losses {
  double total = 0, hard = 0, soft = 0;
};

void validate(const GradOptions& options) {
  if (options.labels.empty() && (options.teacher_logits.empty() || options.lambda.value_or(0) > 0))
    throw UsageError("--labels: missing; leave them out only beside --teacher-logits and --lambda 0");
}

Tensor read_labels(const std::string& path, std::int64_t n, std::int64_t classes) {
  Tensor labels = read_npy(path);
  check(labels.dtype() == DType::i64 && labels.shape() == Shape{n}, path, ": holds ", describe(labels),
        " where int64 [", n, "] was expected; give one label for each image");
  for (std::int64_t row = 0; row < n; ++row) {
    const std::int64_t label = labels.data<std::int64_t>()[row];
    check(label >= 0 && label < classes, path, ": label ", label, " in row ", row, " where 0 to ", classes - 1,
          " was expected; count the classes from 0");
  }
  return labels;
}

Tensor read_teacher(const std::string& path, std::int64_t n, std::int64_t classes) {
  Tensor logits = read_npy(path);
  check(logits.dtype() == DType::f32 && logits.shape() == Shape{n, classes}, path, ": holds ", describe(logits),
        " where float32 [", n, ", ", classes, "] was expected; give one row of logits for each image");
  return logits;
}

/// Forward and backward; the gradients are then in the network's parameters.
Losses compute(const GradOptions& options, Model& model, const Tensor& images, Targets targets, const Tensor& teacher) {
  for (Parameter* parameter : parameters(*model.network))
    if (!parameter->buffer && !parameter->value.requires_grad()) parameter->value.require_grad();
  const Device device = device_of(*model.network);
  Tape tape;
  ForwardContext context;
  context.training = options.training;
  context.dropout_key = dropout_key(options.common.seed, 0, device);
  context.dropout = options.dropout;
  const Tensor logits = model.network->forward(nchw_to_nhwc(images).to(device), context);
  targets.labels = targets.labels.to(device);
  if (!teacher) {
    const Tensor loss = cross_entropy(logits, targets);
    tape.backward(loss);
    return {loss.item(), loss.item(), 0};
  }
  const double lambda = options.lambda.value_or(targets.labels ? kDefaultLambda : 0);
  const DistillationSettings settings{options.temperature, lambda, options.convention};
  const DistillationLoss loss = distillation_loss(logits, teacher.to(device), targets, settings);
  tape.backward(loss.total);
  const Tensor parts = loss.parts.to(Device::cpu);
  return {parts.data<float>()[0], parts.data<float>()[1], parts.data<float>()[2]};
}

void run_grad(const GradOptions& options) {
  apply_common_options(options.common);
  validate(options);
  check_writable(options.out);
  const Tensor images = read_images(options.input);
  Model model = open_model_for_array(options.model, options.weights, images, options.input, options.common);
  check_trains(model.spec, options.model);
  const std::int64_t n = images.shape()[0], classes = static_cast<std::int64_t>(model.spec.classes.size());
  Targets targets;
  if (!options.labels.empty()) targets.labels = read_labels(options.labels, n, classes);
  const Tensor teacher = options.teacher_logits.empty() ? Tensor() : read_teacher(options.teacher_logits, n, classes);

  const Losses losses = compute(options, model, images, targets, teacher);
  check(std::isfinite(losses.total), options.input, ": the loss is ", losses.total,
        "; check the images, the weights and the teacher's logits for values that are not finite");

  // A parameter that no output depends on (an unused auxiliary head) has no gradient and is left out.
  TensorFile file;
  for (const Parameter* parameter : parameters(*model.network))
    if (const Tensor grad = parameter->value.grad(); grad && !parameter->buffer)
      file.tensors.emplace_back(parameter->name, to_file_layout(*parameter, grad));
  write_safetensors(options.out, file);

  say(options.common.quiet, text("saved ", options.out, ": ", file.tensors.size(), " gradients"));
  if (options.common.json) {
    std::cout << json_text(nlohmann::ordered_json{
                     {"loss", losses.total}, {"hard_loss", losses.hard}, {"soft_loss", losses.soft}})
              << std::endl;
  } else {
    std::cout << "loss " << losses.total << "  hard " << losses.hard << "  soft " << losses.soft << std::endl;
  }
}

}  // namespace

void add_grad_command(CLI::App& app) {
  add_command<GradOptions>(app, "grad", "Loss and every parameter's gradient for one batch", run_grad);
}

}  // namespace retort
