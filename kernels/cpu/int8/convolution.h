// The entries of Int8Kernels that differ with the instructions of the product.
#pragma once

#include "kernels/int8.h"

namespace retort::cpu {

struct Int8Convolution {
  Required<std::size_t(const Conv2dGeometry&)> packed_bytes, workspace_bytes;
  Required<void(const Conv2dGeometry&, const Int8Filter&, void*)> pack;
  Required<void(Stream, const Conv2dGeometry&, std::int32_t, const std::uint8_t*, const void*, const Int8Epilogue&,
                void*, void*)>
      conv;
};

}  // namespace retort::cpu
