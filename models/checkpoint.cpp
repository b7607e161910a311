#include "models/checkpoint.h"

#include <filesystem>

#include "engine/core/check.h"
#include "models/bundle.h"
#include "models/file_kind.h"
#include "models/graph/keras.h"
#include "models/graph/onnx.h"
#include "models/pytorch.h"

namespace retort {
namespace {

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
  const FileKind kind = file_kind(file);
  const bool states = kind == FileKind::pytorch || kind == FileKind::keras;
  check(state.empty() || states, file, ": has no states to choose `", state,
        "` from, as PyTorch's files have; leave ::", state, " out");
  switch (kind) {
    case FileKind::program: return {read_bundled_model(file), {}};
    case FileKind::keras: return import_keras(file, state);
    case FileKind::pytorch: return read_pytorch(file, state);
    case FileKind::onnx: return import_onnx(file);
    case FileKind::safetensors: break;
  }
  return {read_safetensors(file), {}};
}

}  // namespace retort
