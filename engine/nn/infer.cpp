#include "engine/nn/infer.h"

#include "engine/core/tape.h"

namespace retort {

Tensor infer(Network& network, const Tensor& images, Taps* taps) {
  const NoGrad no_grad;
  ForwardContext context;
  context.taps = taps;
  return network.forward(images.to(device_of(network)), context);
}

}  // namespace retort
