#include "models/mlp.h"

#include "models/common.h"

namespace retort {

Mlp::Mlp(const Shape& image, const std::vector<std::int64_t>& hidden, std::int64_t classes, Random& random)
    : image(image) {
  std::vector<std::int64_t> widths = {image.count()};
  widths.insert(widths.end(), hidden.begin(), hidden.end());
  widths.push_back(classes);
  for (std::size_t i = 0; i + 1 < widths.size(); ++i)
    layers.emplace_back(widths[i], widths[i + 1], Init::kaiming_uniform_default, random, i == 0 ? image : Shape{});
}

Tensor Mlp::forward(const Tensor& x, ForwardContext& context) {
  const Shape& found = x.shape();
  check(found.rank() == 4 && Shape({found[1], found[2], found[3]}) == image, "mlp: expected images [n, ", image[0],
        ", ", image[1], ", ", image[2], "], found ", found, ": a perceptron takes one size only");
  Tensor y = flatten(x);
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) {
    y = layers[i].forward(y, context, /*relu=*/true);
    y = dropout_layer(y, 0, context);
  }
  return layers.back().forward(y, context);
}

void Mlp::visit(Visitor& visitor) { visitor("layers", layers); }

}  // namespace retort
