#include "tools/stock_model.h"

#include "tools/options.h"

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

}  // namespace retort
