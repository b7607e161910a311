// A bundle: a program for this machine, and behind it, in the same file, the model that it runs.
//
//   program | zeros up to a multiple of 64 bytes | model, as a .safetensors file | trailer of 40 bytes
//
// The trailer: the 16 characters "retort bundle 1\n", then the model's offset, its length and its XXH64 (with seed 0),
// each as 8 little-endian bytes. It ends the file, so a bundle is found from its end, and one that is cut short has
// none. A program ignores what lies behind it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "models/registry.h"

namespace retort {

/// Where the model of a bundle lies.
struct BundledModel {
  std::uint64_t offset = 0, length = 0;
  std::string hash;  ///< content_hash of its bytes
};

/// Nothing for a file that has no trailer. Throws Error naming the file for a trailer that disagrees with it.
std::optional<BundledModel> find_bundled_model(const std::string& path);

/// The bytes of the model, as a .safetensors file, and its hash checked. Throws Error naming the file: no model in it
/// (a program whose model was cut off says so), another hash, and what read_safetensors throws.
TensorFile read_bundled_model(const std::string& path);

/// As load_model, of a bundle.
Model load_bundle(const std::string& path);

/// Writes `program`, a file, and the model to `path`, all or nothing, for everybody to execute who may read it. Throws
/// Error for a program that is none or carries a model already, and for weights beyond f16's range where that is asked
/// for.
void write_bundle(const std::string& path, const std::string& program, const TensorFile& model, WeightType weights);

/// Whether the file begins as an executable of Linux does.
bool is_program(const std::string& path);

}  // namespace retort
