#include "engine/nn/infer.h"

#include "engine/core/tape.h"

namespace retort {

Tensor infer(Network& network, const Tensor& images, const InferOptions& options) {
  const NoGrad no_grad;
  ForwardContext context;
  context.taps = options.taps;
  context.filters = options.filters;
  return network.forward(images.to(device_of(network)), context);
}

}  // namespace retort
