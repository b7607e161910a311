#include "tools/run/stock_model.h"

#include "engine/core/check.h"
#include "engine/core/tape.h"

namespace retort {
namespace {

constexpr std::int64_t kMnistSize = 28, kMnistChannels = 1;
constexpr std::int64_t kLargestCifarSize = 64;

}  // namespace

Model stock_model(const std::string& architecture, std::int64_t image_size, std::uint64_t seed) {
  const bool mlp = architecture.starts_with("mlp");
  Model model;
  model.spec.architecture = architecture;
  Preprocessing& input = model.spec.preprocessing;
  input = default_preprocessing(architecture, mlp ? kMnistSize : 0, mlp ? kMnistChannels : 3);
  model.spec.classes = numbered_classes(input.image_size > kLargestCifarSize ? 1000 : 10);
  if (image_size > 0) input.image_size = image_size;
  model.network = make_network(model.spec, seed);
  return model;
}

Model stock_or_saved_model(const std::string& model, std::int64_t image_size, const CommonOptions& common) {
  if (is_architecture(model)) return stock_model(model, image_size, common.seed);
  Model saved = open_model(model, "", {}, nullptr, common);
  if (image_size > 0) saved.spec.preprocessing.image_size = image_size;
  return saved;
}

std::vector<LayerReport> layers_of(Network& network, const Preprocessing& input) {
  parameters(network);  // names the layers
  const NoGrad no_grad;
  std::vector<LayerReport> layers;
  ForwardContext context;
  context.report = &layers;
  const Tensor image = Tensor::zeros({1, input.image_size, input.image_size, input.channels});
  network.forward(image.to(device_of(network)), context);
  return layers;
}

NetworkOutline outline_of(Model& model) {
  const Preprocessing& input = model.spec.preprocessing;
  parameters(*model.network);  // names the layers
  NetworkOutline outline{model.spec.architecture,
                         text(input.image_size, " x ", input.image_size, " x ", input.channels),
                         {},
                         static_cast<std::int64_t>(model.spec.classes.size()),
                         {}};
  ForwardContext context;
  context.report = &outline.layers;
  Tensor image = Tensor::zeros({1, input.image_size, input.image_size, input.channels}).to(device_of(*model.network));
  Tape tape;
  tape.keep_trace();
  image.require_grad();
  model.network->forward(image, context);
  outline.nodes = outline_nodes(tape.trace(), outline.layers, image);
  return outline;
}

}  // namespace retort
