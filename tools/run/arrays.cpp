#include "tools/run/arrays.h"

#include <cstring>

#include "engine/core/check.h"
#include "engine/io/npy.h"
#include "models/checkpoint.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

const char* numpy_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    case DType::i64: return "int64";
    case DType::i32: return "int32";
    case DType::bf16: return "bfloat16";
    case DType::u8: return "uint8";
    case DType::i8: return "int8";
  }
  return "";
}

}  // namespace

std::string describe(const Tensor& tensor) { return text(numpy_name(tensor.dtype()), " ", tensor.shape()); }

Tensor read_images(const std::string& path) {
  Tensor images = read_npy(path);
  check(images.dtype() == DType::f32 && images.shape().rank() == 4 && images.count() > 0, path, ": holds ",
        describe(images), " where float32 [N, C, H, W] was expected; save it so with numpy.save");
  return images;
}

Model open_model_for_array(const std::string& model, const std::string& weights, const Tensor& images,
                           const std::string& images_path, const CommonOptions& common) {
  const Shape& shape = images.shape();
  if (!weights.empty() && is_keras_network(model))
    return open_model_for_array(text(weights, "::", model), "", images, images_path, common);
  if (weights.empty()) {
    Model loaded = open_model(model, weights, {}, nullptr, common);
    check(shape[1] == loaded.spec.preprocessing.channels, images_path, ": has ", shape[1], " channels where ", model,
          " takes ", loaded.spec.preprocessing.channels, "; give an array [N, C, H, W] for this model");
    return loaded;
  }
  if (!is_architecture(model))
    throw UsageError(text("--weights: goes with --model ARCH such as resnet50, and '", model,
                          "' is no architecture; leave --weights out for a model file"));
  Model built;
  built.spec.architecture = model;
  built.spec.classes = numbered_classes(head_classes(read_checkpoint(weights).file, weights));
  built.spec.preprocessing = default_preprocessing(model, shape[2], shape[1]);
  check(shape[1] == built.spec.preprocessing.channels, images_path, ": has ", shape[1], " channels where ", model,
        " takes ", built.spec.preprocessing.channels, "; give an array [N, C, H, W] for this model");
  built.spec.preprocessing.image_size = shape[2];
  built.network = make_network(built.spec, common.seed);
  for (const std::string& line : load_weights(*built.network, built.spec, weights, /*replace_head=*/false).lines)
    say(common.quiet, line);
  to_device(*built.network, compute_device(common));
  return built;
}

Tensor copy_rows(const Tensor& tensor, std::int64_t begin, std::int64_t end) {
  const Shape& shape = tensor.shape();
  const std::size_t row = tensor.bytes() / static_cast<std::size_t>(shape[0]);
  const std::int64_t n = end - begin;
  Tensor rows = Tensor::empty(shape.rank() == 4   ? Shape{n, shape[1], shape[2], shape[3]}
                              : shape.rank() == 3 ? Shape{n, shape[1], shape[2]}
                              : shape.rank() == 2 ? Shape{n, shape[1]}
                                                  : Shape{n},
                              tensor.dtype());
  std::memcpy(rows.raw(), static_cast<const char*>(tensor.raw()) + begin * row, n * row);
  return rows;
}

}  // namespace retort
