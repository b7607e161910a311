// One distillation step of a network on any device and in any precision, to be compared with another's.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/tape.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "models/registry.h"
#include "tests/case.h"

namespace retort::test {

inline ModelSpec spec_of(const std::string& architecture, std::int64_t image_size, std::size_t classes) {
  ModelSpec spec;
  spec.architecture = architecture;
  for (std::size_t i = 0; i < classes; ++i) spec.classes.push_back(std::to_string(i));
  spec.preprocessing.image_size = image_size;
  spec.preprocessing.channels = 3;
  return spec;
}

struct Step {
  double loss = 0;
  std::vector<std::vector<double>> gradients;
};

/// Where and in what a step is computed. Parameters are f64 for f64, else f32.
struct Place {
  Device device;
  DType precision;
};

inline std::vector<double> on_host(const Tensor& tensor) {
  const Tensor here = tensor.to(Device::cpu);
  if (here.dtype() == DType::i64) return {here.data<std::int64_t>(), here.data<std::int64_t>() + here.count()};
  const Tensor wide = here.to(DType::f64);
  return {wide.data<double>(), wide.data<double>() + wide.count()};
}

/// One distillation step of a fresh network: forward, loss, backward. The same images, labels and teacher everywhere.
inline Step distillation_step(const ModelSpec& spec, std::int64_t batch, const Place& place) {
  const std::unique_ptr<Network> network = make_network(spec, 3);
  for (Parameter* parameter : parameters(*network)) {
    if (place.precision != DType::f64 || parameter->value.dtype() != DType::f32) continue;
    const bool trained = parameter->value.requires_grad();
    parameter->value = parameter->value.to(DType::f64);
    if (trained) parameter->value.require_grad();
  }
  to_device(*network, place.device);
  const std::int64_t size = spec.preprocessing.image_size, classes = static_cast<std::int64_t>(spec.classes.size());
  const std::vector<float> pixels = uniform(batch * size * size * 3, 1, -2, 2), v = uniform(batch * classes, 2, -3, 3);
  const DType losses = parameter_dtype(place.precision);
  const Tensor x = Tensor::from<float>({batch, size, size, 3}, pixels).to(losses).to(place.device);
  const Tensor teacher = Tensor::from<float>({batch, classes}, v).to(losses).to(place.device);
  Targets targets;
  targets.labels =
      Tensor::from<std::int64_t>({batch}, integers<std::int64_t>(batch, 3, 0, static_cast<int>(classes) - 1))
          .to(place.device);

  Tape tape;
  ForwardContext context;
  context.training = true;
  context.dropout_key = dropout_key(5, 0, place.device);
  const Tensor logits = cast(network->forward(cast(x, place.precision), context), losses);
  const DistillationLoss loss = distillation_loss(logits, teacher, targets, {4, 0.2, Convention::convex});
  tape.backward(loss.total);
  Step step{loss.total.item(), {}};
  for (const Parameter* parameter : parameters(*network))
    if (parameter->value.requires_grad()) step.gradients.push_back(on_host(parameter->value.grad()));
  return step;
}

/// ||a - b|| / ||b|| over all gradients.
inline double distance(const Step& a, const Step& b) {
  double difference = 0, length = 0;
  REQUIRE(a.gradients.size() == b.gradients.size());
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    REQUIRE(a.gradients[i].size() == b.gradients[i].size());
    for (std::size_t j = 0; j < a.gradients[i].size(); ++j) {
      const double d = a.gradients[i][j] - b.gradients[i][j];
      difference += d * d;
      length += b.gradients[i][j] * b.gradients[i][j];
    }
  }
  return std::sqrt(difference / length);
}

}  // namespace retort::test
