// The other half of tests/golden/make_golden.py: the same weights, inputs and labels by the same formula, and how far
// results are from PyTorch's.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/layout.h"
#include "models/registry.h"

namespace retort::test {

/// Under the sanitizers the largest networks are left out: their arithmetic is that of the others.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

inline nlohmann::json read_golden(const std::string& name) {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "../golden/models" / (name + ".json");
  std::ifstream file(path);
  check(file.good(), path.string(), ": not found: run tests/golden/make_golden.py");
  return nlohmann::json::parse(file);
}

inline std::uint64_t fnv1a(std::string_view name) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (const char c : name) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return value;
}

/// Element `index` of the SplitMix64 sequence that starts at key.
inline std::uint64_t splitmix(std::uint64_t key, std::int64_t index) {
  std::uint64_t z = key + static_cast<std::uint64_t>(index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// f32 in [low, high), keyed by a name.
inline Tensor golden_uniform(std::string_view name, const Shape& shape, double low, double high) {
  Tensor tensor = Tensor::empty(shape);
  const std::uint64_t key = fnv1a(name);
  float* const values = tensor.data<float>();
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    values[i] = static_cast<float>(low + (high - low) * (static_cast<double>(splitmix(key, i) >> 40) * 0x1p-24));
  return tensor;
}

/// As parameter_value in make_golden.py; num_batches_tracked stays 0.
inline void set_golden_weights(Network& network) {
  for (Parameter* parameter : parameters(network)) {
    if (parameter->value.dtype() == DType::i64) continue;
    const std::string& name = parameter->name;
    const Shape shape = file_shape(*parameter);
    double low = -0.25, high = 0.25;
    if (shape.rank() > 1) {
      high = std::sqrt(6 / (static_cast<double>(shape.count()) / static_cast<double>(shape[0])));
      low = -high;
    } else if (name.ends_with("running_var") || name.ends_with("weight")) {
      low = 0.5, high = 1.5;
    }
    from_file_layout(golden_uniform(name, shape, low, high), *parameter);
  }
}

/// All floats of the network as f64: its ops then run on the reference kernels.
inline void make_double(Network& network) {
  for (Parameter* parameter : parameters(network)) {
    if (parameter->value.dtype() != DType::f32) continue;
    const bool trained = parameter->value.requires_grad();
    parameter->value = parameter->value.to(DType::f64);
    if (trained) parameter->value.require_grad();
  }
}

inline Tensor golden_input(std::int64_t batch, std::int64_t size) {
  return nchw_to_nhwc(golden_uniform("input", {batch, 3, size, size}, -std::sqrt(3.0), std::sqrt(3.0)));
}

inline Tensor golden_labels(std::int64_t batch, std::int64_t classes) {
  Tensor labels = Tensor::empty({batch}, DType::i64);
  for (std::int64_t i = 0; i < batch; ++i)
    labels.data<std::int64_t>()[i] =
        static_cast<std::int64_t>(splitmix(fnv1a("labels"), i) % static_cast<std::uint64_t>(classes));
  return labels;
}

/// max |found - expected| / max |expected|; NaN if anything is.
inline double relative_distance(const Tensor& found, const std::vector<double>& expected) {
  if (found.count() != static_cast<std::int64_t>(expected.size())) return std::nan("");
  const Tensor values = found.to(DType::f64);
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(values.data<double>()[i] - expected[i]);
    if (!(difference <= error)) error = difference;
    scale = std::max(scale, std::fabs(expected[i]));
  }
  return error / scale;
}

/// `distance` of make_golden.py: root mean square over parameters and probes of the error, in units of the gradient's
/// own root mean square. NaN if a gradient is missing or NaN.
inline double gradient_distance(Network& network, const nlohmann::json& expected) {
  const std::vector<Parameter*> own = parameters(network);
  double largest = 0, sum = 0;
  for (const auto& entry : expected) largest = std::max(largest, entry["norm"].get<double>());
  std::size_t trained = 0, terms = 0;
  for (const Parameter* parameter : own) {
    if (!parameter->value.requires_grad()) continue;
    ++trained;
    if (!expected.contains(parameter->name) || !parameter->value.grad()) return std::nan("");
    const auto& entry = expected[parameter->name];
    const double norm = entry["norm"].get<double>();
    if (norm < 1e-9 * largest) continue;  // 0 but for rounding: a bias before batch norm
    const Tensor gradient = to_file_layout(*parameter, parameter->value.grad()).to(DType::f64);
    const double scale = norm / std::sqrt(static_cast<double>(gradient.count()));
    const std::uint64_t key = fnv1a(parameter->name + "/probe");
    for (std::size_t k = 0; k < entry["probes"].size(); ++k, ++terms) {
      const auto index = splitmix(key, static_cast<std::int64_t>(k)) % static_cast<std::uint64_t>(gradient.count());
      const double error = (gradient.data<double>()[index] - entry["probes"][k].get<double>()) / scale;
      sum += error * error;
    }
  }
  return trained == expected.size() ? std::sqrt(sum / static_cast<double>(terms)) : std::nan("");
}

/// `count` classes named 0, 1, ...
inline ModelSpec spec_of(const std::string& architecture, std::int64_t classes, std::int64_t image_size,
                         std::int64_t channels = 3) {
  ModelSpec spec;
  spec.architecture = architecture;
  for (std::int64_t i = 0; i < classes; ++i) spec.classes.push_back(std::to_string(i));
  spec.preprocessing = default_preprocessing(architecture, image_size, channels);
  spec.preprocessing.image_size = image_size;
  return spec;
}

}  // namespace retort::test
