// A small network as one C99 file: its weights and a plain function that computes the logits of an image.
#pragma once

#include <string>
#include <vector>

#include "models/graph/record.h"

namespace retort {

struct CExportOptions {
  std::string comment;               ///< what the file says of itself, a line each
  std::vector<std::string> classes;  ///< in logit order
};

/// A file called student.c defines
///
///   void student_forward(const float *image, float *logits, float *workspace)
///
/// of an image [c, h, w], and says how many floats each has; it allocates nothing and keeps no state. Atomic. Throws
/// Error for an op that there is no C of here (attention, activations beyond ReLU), for batch norm that was not folded,
/// and for more than kMaxCWeights weights, which a compiler would take minutes for.
void write_c(const std::string& path, const PlainGraph& graph, const CExportOptions& options);

inline constexpr std::int64_t kMaxCWeights = 4'000'000;

}  // namespace retort
