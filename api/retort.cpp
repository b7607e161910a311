// The C interface over the engine. No exception leaves a function: each says in one place what it does when one is
// thrown.
#include "api/retort.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/data/image.h"
#include "engine/data/transform.h"
#include "engine/io/file.h"
#include "engine/nn/infer.h"
#include "engine/ops/softmax.h"
#include "models/bundle.h"
#include "models/file_kind.h"
#include "models/registry.h"

struct retort_model {
  retort::Model model;
  mutable std::mutex running;  ///< of the network: threads share its parameters' bookkeeping and the pool of cores
  mutable retort::PreparedFilters filters = {};
};

namespace retort {
namespace {

/// Of this thread. A fixed room: a message about memory must not need any.
thread_local char last_error[2048] = "";

void fail(const char* message) noexcept {
  std::strncpy(last_error, message, sizeof last_error - 1);
  std::replace(last_error, last_error + std::strlen(last_error), '\n', ' ');
}

/// What `body` returns, or `failed` and a message.
template <class Result, class Body>
Result guarded(Result failed, const Body& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail("out of memory; free some");
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("an unknown failure; report it");
  }
  return failed;
}

void check_given(const void* pointer, const char* name) { check(pointer != nullptr, name, ": is NULL; give one"); }

/// A bundle, or a model file of Retort itself: the readers of other forms are no part of the library.
Model open(const std::string& path) {
  const FileKind kind = file_kind(path);
  const auto refuse_if = [&](FileKind foreign, const char* what, const char* option) {
    check(kind != foreign, path, ": is ", what, ", expected a model file of Retort's; `retort import", option,
          " --weights ", path, " --out model.safetensors` makes one");
  };
  refuse_if(FileKind::onnx, "an ONNX model", "");
  refuse_if(FileKind::keras, "of Keras's", "");
  refuse_if(FileKind::pytorch, "of PyTorch's", " --model ARCHITECTURE");
  return kind == FileKind::program ? load_bundle(path) : make_model(read_safetensors(path), path);
}

void classify(const retort_model& model, const Image& image, const std::string& name, float* probabilities) {
  const NoGrad no_grad;
  const Preprocessing& input = model.model.spec.preprocessing;
  Tensor pixels = Tensor::empty({1, input.image_size, input.image_size, input.channels});
  render(image, centre_view(image), input, pixels.data<float>());
  const std::lock_guard lock(model.running);
  const Tensor result = softmax(infer(*model.model.network, pixels, {.filters = &model.filters}));
  const float* const begin = result.data<float>();
  const float* const end = begin + result.count();
  check(std::none_of(begin, end, [](float value) { return value != value; }), name,
        ": the model's output is not a number; its weights are broken, train it again");
  std::copy(begin, end, probabilities);
}

}  // namespace
}  // namespace retort

using namespace retort;  // NOLINT(google-build-using-namespace): the functions below are C's

retort_model* retort_load(const char* path) {
  return guarded<retort_model*>(nullptr, [&] {
    check_given(path, "path");
    return new retort_model{open(path), {}};
  });
}

void retort_free(retort_model* model) { delete model; }

int32_t retort_classes(const retort_model* model) {
  return guarded<int32_t>(0, [&] {
    check_given(model, "model");
    return static_cast<int32_t>(model->model.spec.classes.size());
  });
}

const char* retort_class_name(const retort_model* model, int32_t index) {
  return guarded<const char*>(nullptr, [&] {
    check_given(model, "model");
    const std::vector<std::string>& classes = model->model.spec.classes;
    check(index >= 0 && static_cast<std::size_t>(index) < classes.size(), "index: ", index, " is no class of ",
          classes.size(), "; count from 0");
    return classes[static_cast<std::size_t>(index)].c_str();
  });
}

int retort_classify_file(const retort_model* model, const char* path, float* probabilities) {
  return guarded(-1, [&] {
    check_given(model, "model");
    check_given(path, "path");
    check_given(probabilities, "probabilities");
    classify(*model, decode_image(read_picture(path), path), path, probabilities);
    return 0;
  });
}

int retort_classify_pixels(const retort_model* model, const uint8_t* pixels, int32_t width, int32_t height,
                           int32_t channels, float* probabilities) {
  return guarded(-1, [&] {
    check_given(model, "model");
    check_given(pixels, "pixels");
    check_given(probabilities, "probabilities");
    check(width > 0 && height > 0 && (channels == 1 || channels == 3), "pixels: ", width, " x ", height, " of ",
          channels, " channels; give sizes above 0 and 1 or 3 channels");
    Image image{.width = width, .height = height, .channels = channels, .pixels = {}};
    image.pixels.assign(pixels, pixels + image.width * image.height * image.channels);
    classify(*model, image, "pixels", probabilities);
    return 0;
  });
}

const char* retort_last_error(void) { return last_error; }

const char* retort_version(void) { return RETORT_VERSION; }
