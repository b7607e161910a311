// NVIDIA's libraries behind the kernel table, to measure our kernels against: matrix products by cuBLAS, convolutions
// and softmax by cuDNN, the rest ours. They are opened at the first use.
#pragma once

#include <cstdint>

#include "kernels/table.h"

namespace retort::vendor {

enum class Vendor : std::uint8_t { cublas, cudnn };

/// An empty string if the library can be used, else why not.
const char* unavailable(Vendor vendor);

/// How filters and their gradients lie in memory.
enum class Filters : std::uint8_t {
  rsck,  ///< as the contract of kernels/conv2d.h has it: each call converts to and from cuDNN's layout
  krsc   ///< as cuDNN has it, gradients in the elements' dtype: a call is the library's and nothing else
};

/// The tables of kernels/cuda/table.h with the libraries' products, convolutions and softmax. An entry throws
/// std::runtime_error where its library is unavailable, or with the library's text where a call fails.
const KernelTable& table_f32(Filters filters = Filters::rsck);
const KernelTable& table_tf32(Filters filters = Filters::rsck);
const KernelTable& table_bf16(Filters filters = Filters::rsck);

}  // namespace retort::vendor
