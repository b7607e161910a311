#include "models/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/hdf5.h"
#include "engine/io/zip.h"
#include "models/bundle.h"
#include "models/graph/keras.h"
#include "models/graph/onnx.h"
#include "models/graph/onnx_file.h"
#include "models/pytorch.h"

namespace retort {
namespace {

constexpr std::size_t kHead = 16;

std::string head_of_file(const std::string& path) {
  const InputFile file(path);
  std::string head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), kHead)), '\0');
  file.read(0, {reinterpret_cast<std::uint8_t*>(head.data()), head.size()});
  return head;
}

/// A length and the brace of its JSON.
bool is_safetensors(std::string_view head) { return head.size() > 8 && head[8] == '{'; }

std::pair<std::string, std::string> file_and_state(const std::string& path) {
  const std::size_t at = path.rfind("::");
  if (at == path.npos || at == 0 || std::filesystem::exists(path)) return {path, ""};
  return {path.substr(0, at), path.substr(at + 2)};
}

}  // namespace

bool is_keras_network(const std::string& model) { return model.starts_with(kKerasPrefix); }

std::string checkpoint_file(const std::string& path) { return file_and_state(path).first; }

Checkpoint read_checkpoint(const std::string& path) {
  const auto [file, state] = file_and_state(path);
  const std::string head = head_of_file(file);
  const bool zip = head.starts_with("PK\x03\x04");
  if (state.empty() && is_program(file)) return {read_bundled_model(file), {}};
  if (is_hdf5(head) || (zip && ZipFile(file).find("config.json"))) return import_keras(file, state);
  const bool pytorch = zip || head.starts_with("\x80\x02");
  check(state.empty() || pytorch, file, ": has no states to choose `", state,
        "` from, as PyTorch's files have; leave ::", state, " out");
  if (is_safetensors(head)) return {read_safetensors(file), {}};
  if (pytorch) return read_pytorch(file, state);
  if (is_onnx(file)) return import_onnx(file);
  return {read_safetensors(file), {}};  // says what it misses
}

}  // namespace retort
