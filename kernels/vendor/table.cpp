// The tables of kernels/cuda with products by cuBLAS, convolutions and softmax by cuDNN.
#include "kernels/vendor/table.h"

#include "kernels/cuda/table.h"
#include "kernels/vendor/arithmetic.h"

namespace retort::vendor {

// cublas.cpp
const char* cublas_unavailable();
template <Arithmetic kArithmetic>
GemmKernels gemm();

// cudnn.cpp
const char* cudnn_unavailable();
template <Arithmetic kArithmetic, Filters kFilters>
Conv2dKernels conv2d();
template <Arithmetic kArithmetic>
SoftmaxKernels softmax();

namespace {

template <Arithmetic kArithmetic, Filters kFilters>
KernelTable replaced(const KernelTable& ours, const char* name) {
  KernelTable table = ours;
  table.name = name;
  table.gemm = gemm<kArithmetic>();
  table.conv2d = conv2d<kArithmetic, kFilters>();
  table.softmax = softmax<kArithmetic>();
  return table;
}

template <Arithmetic kArithmetic>
const KernelTable& table(Filters filters, const KernelTable& ours, const char* name) {
  static const KernelTable rsck = replaced<kArithmetic, Filters::rsck>(ours, name);
  static const KernelTable krsc = replaced<kArithmetic, Filters::krsc>(ours, name);
  return filters == Filters::rsck ? rsck : krsc;
}

}  // namespace

const char* unavailable(Vendor vendor) { return vendor == Vendor::cublas ? cublas_unavailable() : cudnn_unavailable(); }

const KernelTable& table_f32(Filters filters) { return table<Arithmetic::f32>(filters, cuda::table_f32(), "vendor"); }
const KernelTable& table_tf32(Filters filters) {
  return table<Arithmetic::tf32>(filters, cuda::table_tf32(), "vendor_tf32");
}
const KernelTable& table_bf16(Filters filters) {
  return table<Arithmetic::bf16>(filters, cuda::table_bf16(), "vendor_bf16");
}

}  // namespace retort::vendor
