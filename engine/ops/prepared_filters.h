// Convolutions' filters as the kernels take them, kept from one pass to the next.
#pragma once

#include <map>

#include "engine/core/tensor.h"
#include "kernels/conv2d.h"

namespace retort {

/// A filter for one geometry.
struct PreparedFilter {
  Tensor weight;    ///< of the activations' dtype
  Tensor laid_out;  ///< as PreparedFilterKernels::prepare leaves it; empty where the kernels take the weight as it is
};

/// For whoever runs a network several times: while it lives, the network's weights must stay as they are and where they
/// lie. For one thread at a time.
class PreparedFilters {
 public:
  /// The weight for activations of `dtype`. Made anew where the last call for this weight asked for another dtype or
  /// geometry.
  PreparedFilter get(const Conv2dGeometry& geometry, const Tensor& weight, DType dtype);

 private:
  struct Entry {
    PreparedFilter filter;
    Conv2dGeometry geometry;
  };
  std::map<const void*, Entry> entries_;  ///< by the weight's elements
};

}  // namespace retort
