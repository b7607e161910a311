#include "models/file_kind.h"

#include <algorithm>

#include "engine/io/file.h"
#include "engine/io/hdf5.h"
#include "engine/io/zip.h"
#include "models/bundle.h"
#include "models/graph/onnx_file.h"

namespace retort {

FileKind file_kind(const std::string& path) {
  constexpr std::uint64_t kHead = 16;
  const InputFile file(path);
  std::string head(static_cast<std::size_t>(std::min(file.size(), kHead)), '\0');
  file.read(0, {reinterpret_cast<std::uint8_t*>(head.data()), head.size()});
  if (head.size() > 8 && head[8] == '{') return FileKind::safetensors;  // a length and the brace of its JSON
  if (is_program(path)) return FileKind::program;
  if (is_hdf5(head)) return FileKind::keras;
  if (head.starts_with("PK\x03\x04")) return ZipFile(path).find("config.json") ? FileKind::keras : FileKind::pytorch;
  if (head.starts_with("\x80\x02")) return FileKind::pytorch;
  return is_onnx(path) ? FileKind::onnx : FileKind::safetensors;
}

}  // namespace retort
