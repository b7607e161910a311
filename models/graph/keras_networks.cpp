// The networks of keras.applications whose weights may come without them, as their papers have them and as Keras names
// and numbers their layers.
#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/core/check.h"
#include "models/graph/keras.h"

namespace retort {
namespace {

using Json = nlohmann::json;
using V = std::int64_t;  ///< a value: 0 the image, k the result of layer k - 1

/// Layers in the order in which a network's code makes them.
class Builder {
 public:
  Builder(std::string name, std::int64_t size) {
    model_.name = std::move(name);
    model_.rows = model_.columns = size;
    model_.channels = 3;
  }

  V add(const std::string& name, const char* kind, std::vector<V> inputs, Json config = Json::object()) {
    model_.layers.push_back({name, kind, std::move(config), std::move(inputs), {}, false, "", name});
    return static_cast<V>(model_.layers.size());
  }
  V conv(const std::string& name, V x, int filters, int kernel, int stride = 1, const char* padding = "same",
         bool bias = true, const char* activation = "linear") {
    return conv(name, x, filters, kernel, kernel, stride, padding, bias, activation);
  }
  V conv(const std::string& name, V x, int filters, int rows, int columns, int stride, const char* padding, bool bias,
         const char* activation = "linear") {
    return add(name, "Conv2D", {x},
               {{"filters", filters},
                {"kernel_size", {rows, columns}},
                {"strides", {stride, stride}},
                {"padding", padding},
                {"use_bias", bias},
                {"activation", activation}});
  }
  V depthwise(const std::string& name, V x, int kernel, int stride, const char* padding) {
    return add(
        name, "DepthwiseConv2D", {x},
        {{"kernel_size", {kernel, kernel}}, {"strides", {stride, stride}}, {"padding", padding}, {"use_bias", false}});
  }
  V norm(const std::string& name, V x, double eps = 1e-3, bool scale = true) {
    return add(name, "BatchNormalization", {x}, {{"epsilon", eps}, {"scale", scale}});
  }
  V activation(const std::string& name, V x, const char* word) {
    return add(name, "Activation", {x}, {{"activation", word}});
  }
  V pad(const std::string& name, V x, int before, int after) {
    return add(name, "ZeroPadding2D", {x}, {{"padding", {{before, after}, {before, after}}}});
  }
  V pool(const std::string& name, V x, int size, int stride, const char* kind = "MaxPooling2D",
         const char* padding = "valid") {
    return add(name, kind, {x}, {{"pool_size", {size, size}}, {"strides", {stride, stride}}, {"padding", padding}});
  }
  V dense(const std::string& name, V x, int units, const char* activation) {
    return add(name, "Dense", {x}, {{"units", units}, {"activation", activation}});
  }

  /// In Keras's order, by which the folders of weights are numbered.
  KerasModel finish() {
    std::vector<std::vector<V>> inputs;
    for (const KerasLayer& layer : model_.layers) inputs.push_back(layer.inputs);
    const std::vector<std::size_t> order = keras_order(inputs);
    std::vector<V> place(order.size() + 1, 0);
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i] + 1] = static_cast<V>(i + 1);
    KerasFolders folders("");
    std::vector<KerasLayer> sorted;
    for (const std::size_t from : order) {
      KerasLayer layer = std::move(model_.layers[from]);
      for (V& input : layer.inputs) input = place[static_cast<std::size_t>(input)];
      layer.folder = folders.next(layer.kind);
      sorted.push_back(std::move(layer));
    }
    model_.layers = std::move(sorted);
    return std::move(model_);
  }

 private:
  KerasModel model_;
};

/// He et al., arXiv 1512.03385; the stride in a block's first 1 x 1.
KerasModel resnet50() {
  Builder b("resnet50", 224);
  constexpr double kEps = 1.001e-5;
  V x = b.pad("conv1_pad", 0, 3, 3);
  x = b.conv("conv1_conv", x, 64, 7, 2, "valid");
  x = b.activation("conv1_relu", b.norm("conv1_bn", x, kEps), "relu");
  x = b.pool("pool1_pool", b.pad("pool1_pad", x, 1, 1), 3, 2);
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const int width = 64 << stage;
    for (int block = 1; block <= blocks[stage]; ++block) {
      const std::string name = text("conv", stage + 2, "_block", block);
      const int stride = block == 1 && stage > 0 ? 2 : 1;
      V shortcut = x;
      if (block == 1)
        shortcut = b.norm(name + "_0_bn", b.conv(name + "_0_conv", x, 4 * width, 1, stride, "valid"), kEps);
      V y = b.norm(name + "_1_bn", b.conv(name + "_1_conv", x, width, 1, stride, "valid"), kEps);
      y = b.activation(name + "_1_relu", y, "relu");
      y = b.norm(name + "_2_bn", b.conv(name + "_2_conv", y, width, 3), kEps);
      y = b.activation(name + "_2_relu", y, "relu");
      y = b.norm(name + "_3_bn", b.conv(name + "_3_conv", y, 4 * width, 1, 1, "valid"), kEps);
      x = b.activation(name + "_out", b.add(name + "_add", "Add", {shortcut, y}), "relu");
    }
  }
  b.dense("predictions", b.add("avg_pool", "GlobalAveragePooling2D", {x}), 1000, "softmax");
  return b.finish();
}

/// Simonyan & Zisserman, arXiv 1409.1556.
KerasModel vgg16() {
  Builder b("vgg16", 224);
  V x = 0;
  const int convs[] = {2, 2, 3, 3, 3};
  for (int block = 0; block < 5; ++block) {
    const std::string name = text("block", block + 1, "_");
    for (int i = 1; i <= convs[block]; ++i)
      x = b.conv(text(name, "conv", i), x, std::min(64 << block, 512), 3, 1, "same", true, "relu");
    x = b.pool(name + "pool", x, 2, 2);
  }
  x = b.dense("fc1", b.add("flatten", "Flatten", {x}), 4096, "relu");
  b.dense("predictions", b.dense("fc2", x, 4096, "relu"), 1000, "softmax");
  return b.finish();
}

/// Szegedy et al., arXiv 1512.00567; batch norm without gamma.
KerasModel inception_v3() {
  Builder b("inception_v3", 299);
  int made = 0;
  const auto numbered = [](const char* what, int number) { return number == 0 ? text(what) : text(what, "_", number); };
  const auto conv = [&](V x, int filters, int rows, int columns, int stride = 1, const char* padding = "same") {
    const int i = made++;
    x = b.conv(numbered("conv2d", i), x, filters, rows, columns, stride, padding, false);
    x = b.norm(numbered("batch_normalization", i), x, 1e-3, /*scale=*/false);
    return b.activation(numbered("activation", i), x, "relu");
  };
  int max_pools = 0, average_pools = 0, joins = 0;
  const auto max_pool = [&](V x) { return b.pool(numbered("max_pooling2d", max_pools++), x, 3, 2); };
  const auto average = [&](V x) {
    return b.pool(numbered("average_pooling2d", average_pools++), x, 3, 1, "AveragePooling2D", "same");
  };
  const auto join = [&](const std::string& name, std::vector<V> parts) {
    return b.add(name, "Concatenate", std::move(parts));
  };

  V x = conv(conv(conv(0, 32, 3, 3, 2, "valid"), 32, 3, 3, 1, "valid"), 64, 3, 3);
  x = conv(conv(max_pool(x), 80, 1, 1, 1, "valid"), 192, 3, 3, 1, "valid");
  x = max_pool(x);
  for (int i = 0; i < 3; ++i) {
    const V a = conv(x, 64, 1, 1), five = conv(conv(x, 48, 1, 1), 64, 5, 5);
    const V three = conv(conv(conv(x, 64, 1, 1), 96, 3, 3), 96, 3, 3);
    x = join(text("mixed", i), {a, five, three, conv(average(x), i == 0 ? 32 : 64, 1, 1)});
  }
  {
    const V a = conv(x, 384, 3, 3, 2, "valid"), three = conv(conv(conv(x, 64, 1, 1), 96, 3, 3), 96, 3, 3, 2, "valid");
    x = join("mixed3", {a, three, max_pool(x)});
  }
  for (int i = 4; i < 8; ++i) {
    const int width = i == 4 ? 128 : i == 7 ? 192 : 160;
    const V a = conv(x, 192, 1, 1), seven = conv(conv(conv(x, width, 1, 1), width, 1, 7), 192, 7, 1);
    V twice = conv(conv(conv(x, width, 1, 1), width, 7, 1), width, 1, 7);
    twice = conv(conv(twice, width, 7, 1), 192, 1, 7);
    x = join(text("mixed", i), {a, seven, twice, conv(average(x), 192, 1, 1)});
  }
  {
    const V three = conv(conv(x, 192, 1, 1), 320, 3, 3, 2, "valid");
    const V seven = conv(conv(conv(conv(x, 192, 1, 1), 192, 1, 7), 192, 7, 1), 192, 3, 3, 2, "valid");
    x = join("mixed8", {three, seven, max_pool(x)});
  }
  for (int i = 0; i < 2; ++i) {
    const V a = conv(x, 320, 1, 1);
    const V three = conv(x, 384, 1, 1);
    const V wide = conv(three, 384, 1, 3), tall = conv(three, 384, 3, 1);
    const V first = join(text("mixed9_", i), {wide, tall});
    const V double_ = conv(conv(x, 448, 1, 1), 384, 3, 3);
    const V wide2 = conv(double_, 384, 1, 3), tall2 = conv(double_, 384, 3, 1);
    const V second = join(numbered("concatenate", joins++), {wide2, tall2});
    x = join(text("mixed", 9 + i), {a, first, second, conv(average(x), 192, 1, 1)});
  }
  b.dense("predictions", b.add("avg_pool", "GlobalAveragePooling2D", {x}), 1000, "softmax");
  return b.finish();
}

/// Sandler et al., arXiv 1801.04381.
KerasModel mobilenet_v2() {
  Builder b("mobilenetv2_1.00_224", 224);
  const auto relu6 = [&](const std::string& name, V x) { return b.add(name, "ReLU", {x}, {{"max_value", 6.0}}); };
  V x = relu6("Conv1_relu", b.norm("bn_Conv1", b.conv("Conv1", 0, 32, 3, 2, "same", false)));
  struct Stage {
    int expansion, width, blocks, stride;
  };
  const Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                          {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  int number = 0, in = 32;
  for (const Stage& stage : stages)
    for (int i = 0; i < stage.blocks; ++i, ++number) {
      const std::string name = number == 0 ? "expanded_conv_" : text("block_", number, "_");
      const int stride = i == 0 ? stage.stride : 1;
      V y = x;
      if (number > 0)
        y = relu6(name + "expand_relu",
                  b.norm(name + "expand_BN", b.conv(name + "expand", y, stage.expansion * in, 1, 1, "same", false)));
      if (stride == 2) y = b.pad(name + "pad", y, 0, 1);
      y = b.depthwise(name + "depthwise", y, 3, stride, stride == 2 ? "valid" : "same");
      y = relu6(name + "depthwise_relu", b.norm(name + "depthwise_BN", y));
      y = b.norm(name + "project_BN", b.conv(name + "project", y, stage.width, 1, 1, "same", false));
      x = i > 0 ? b.add(name + "add", "Add", {x, y}) : y;
      in = stage.width;
    }
  x = relu6("out_relu", b.norm("Conv_1_bn", b.conv("Conv_1", x, 1280, 1, 1, "valid", false)));
  b.dense("predictions", b.add("global_average_pooling2d", "GlobalAveragePooling2D", {x}), 1000, "softmax");
  return b.finish();
}

/// Tan & Le, arXiv 1905.11946. With ImageNet's weights Keras divides by the deviation's root, too.
KerasModel efficientnet_b0(bool imagenet) {
  Builder b("efficientnetb0", 224);
  V x = b.add("normalization", "Normalization", {b.add("rescaling", "Rescaling", {0}, {{"scale", 1 / 255.0}})});
  if (imagenet)
    x = b.add("rescaling_1", "Rescaling", {x},
              {{"scale", {1 / std::sqrt(0.229), 1 / std::sqrt(0.224), 1 / std::sqrt(0.225)}}});
  x = b.conv("stem_conv", b.pad("stem_conv_pad", x, 0, 1), 32, 3, 2, "valid", false);
  x = b.activation("stem_activation", b.norm("stem_bn", x), "silu");
  struct Stage {
    int kernel, blocks, width, expansion, stride;
  };
  const Stage stages[] = {{3, 1, 16, 1, 1},  {3, 2, 24, 6, 2},  {5, 2, 40, 6, 2}, {3, 3, 80, 6, 2},
                          {5, 3, 112, 6, 1}, {5, 4, 192, 6, 2}, {3, 1, 320, 6, 1}};
  int in = 32, number = 0;
  for (const Stage& stage : stages) {
    ++number;
    for (int i = 0; i < stage.blocks; ++i) {
      const std::string name = text("block", number, static_cast<char>('a' + i), "_");
      const int stride = i == 0 ? stage.stride : 1, wide = in * stage.expansion;
      V y = x;
      if (stage.expansion > 1)
        y = b.activation(name + "expand_activation",
                         b.norm(name + "expand_bn", b.conv(name + "expand_conv", y, wide, 1, 1, "same", false)),
                         "silu");
      // Keras pads by how the size at hand divides; at 224 every stride is even.
      if (stride == 2) y = b.pad(name + "dwconv_pad", y, stage.kernel / 2 - 1, stage.kernel / 2);
      y = b.depthwise(name + "dwconv", y, stage.kernel, stride, stride == 2 ? "valid" : "same");
      y = b.activation(name + "activation", b.norm(name + "bn", y), "silu");
      V gate = b.add(name + "se_squeeze", "GlobalAveragePooling2D", {y});
      gate = b.add(name + "se_reshape", "Reshape", {gate}, {{"target_shape", {1, 1, wide}}});
      gate = b.conv(name + "se_reduce", gate, std::max(1, in / 4), 1, 1, "same", true, "silu");
      gate = b.conv(name + "se_expand", gate, wide, 1, 1, "same", true, "sigmoid");
      y = b.add(name + "se_excite", "Multiply", {y, gate});
      y = b.norm(name + "project_bn", b.conv(name + "project_conv", y, stage.width, 1, 1, "same", false));
      if (i > 0) {
        y = b.add(name + "drop", "Dropout", {y}, {{"rate", 0.0}});
        y = b.add(name + "add", "Add", {y, x});
      }
      x = y;
      in = stage.width;
    }
  }
  x = b.activation("top_activation", b.norm("top_bn", b.conv("top_conv", x, 1280, 1, 1, "same", false)), "silu");
  x = b.add("top_dropout", "Dropout", {b.add("avg_pool", "GlobalAveragePooling2D", {x})}, {{"rate", 0.2}});
  b.dense("predictions", x, 1000, "softmax");
  return b.finish();
}

/// ImageNet's mean stands in its weights; a fresh network's is 0.
bool has_imagenet_mean(const Hdf5File& weights) {
  for (const char* name : {"layers/normalization/vars/0", "normalization/mean", "normalization/mean:0",
                           "normalization/normalization/mean", "normalization/normalization/mean:0"})
    if (const auto found = weights.datasets.find(name); found != weights.datasets.end())
      return std::ranges::any_of(found->second.values, [](float value) { return value != 0; });
  return false;
}

struct NetworkRow {
  const char* name;
  std::function<KerasModel(const Hdf5File&)> make;
};
const std::vector<NetworkRow>& rows() {
  static const std::vector<NetworkRow> all = {
      {"ResNet50", [](const Hdf5File&) { return resnet50(); }},
      {"VGG16", [](const Hdf5File&) { return vgg16(); }},
      {"InceptionV3", [](const Hdf5File&) { return inception_v3(); }},
      {"MobileNetV2", [](const Hdf5File&) { return mobilenet_v2(); }},
      {"EfficientNetB0", [](const Hdf5File& weights) { return efficientnet_b0(has_imagenet_mean(weights)); }}};
  return all;
}

}  // namespace

std::vector<std::string> keras_networks() {
  std::vector<std::string> names;
  for (const NetworkRow& row : rows()) names.push_back(text(kKerasPrefix, row.name));
  return names;
}

KerasModel keras_network(const std::string& name, const Hdf5File& weights) {
  for (const NetworkRow& row : rows())
    if (name == text(kKerasPrefix, row.name)) return row.make(weights);
  throw Error(
      text(name.substr(0, 80), ": no network of Keras's that is built in; give ", alternatives(keras_networks())));
}

std::optional<KerasPixels> keras_pixels(const std::string& name) {
  // Caffe's means are of 0..255, and in the order blue, green, red.
  static const KerasPixels caffe{true,
                                 {123.68 / 255, 116.779 / 255, 103.939 / 255},
                                 {1 / 255.0, 1 / 255.0, 1 / 255.0},
                                 "blue first, less 103.939, 116.779 and 123.68 (Caffe's way)"};
  static const KerasPixels symmetric{false, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, "in [-1, 1]"};
  static const KerasPixels torch{false,
                                 {0.485, 0.456, 0.406},
                                 {0.229, 0.224, 0.225},
                                 "normalised by ImageNet's mean and deviation (PyTorch's way)"};
  struct Row {
    const char* begin;
    const KerasPixels& pixels;
  };
  // ResNet's second form comes before its first, whose name begins alike.
  static const Row all[] = {{"resnet50v2", symmetric},
                            {"resnet101v2", symmetric},
                            {"resnet152v2", symmetric},
                            {"resnet50", caffe},
                            {"resnet101", caffe},
                            {"resnet152", caffe},
                            {"vgg16", caffe},
                            {"vgg19", caffe},
                            {"inception_v3", symmetric},
                            {"inception_resnet_v2", symmetric},
                            {"xception", symmetric},
                            {"mobilenet_", symmetric},
                            {"mobilenetv2_", symmetric},
                            {"densenet", torch}};
  for (const Row& row : all)
    if (name.starts_with(row.begin)) return row.pixels;
  return std::nullopt;
}

}  // namespace retort
