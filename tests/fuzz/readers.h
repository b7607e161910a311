// The readers of files that somebody else may have made, each as a function of a file's bytes.
#pragma once

#include <cstdint>
#include <span>

namespace retort::fuzz {

struct Reader {
  const char* name;  ///< and the folder of its corpus
  /// Reads the bytes as a file. An Error is a file refused, and well; anything else is a defect.
  void (*read)(std::span<const std::uint8_t> bytes);
};

/// All of them.
std::span<const Reader> readers();

}  // namespace retort::fuzz
