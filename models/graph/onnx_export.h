// A network as an .onnx file, opset 17: what PyTorch's exporter would write, batch dimension free, logits as output.
#pragma once

#include <map>
#include <string>

#include "models/graph/record.h"

namespace retort {

struct OnnxExportOptions {
  std::string producer_version;
  std::map<std::string, std::string> metadata;  ///< the file's own keys and texts
};

/// Input `image`, float32 [n, c, h, w]; output `logits`, float32 [n, classes]; weights under the names that they have
/// here. Atomic. Throws Error for an op that ONNX has no form of, and for more than the 2 GiB that such a file may
/// have.
void write_onnx(const std::string& path, const PlainGraph& graph, const OnnxExportOptions& options);

}  // namespace retort
