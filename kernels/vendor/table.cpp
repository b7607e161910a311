#include "kernels/vendor/table.h"

#include "kernels/cuda/table.h"
#include "kernels/vendor/cublas.h"
#include "kernels/vendor/cudnn.h"

namespace retort::vendor {
namespace {

template <Arithmetic kArithmetic, Filters kFilters>
KernelTable replaced(const KernelTable& ours, const char* name) {
  KernelTable table = ours;
  table.name = name;
  table.gemm = {.workspace_bytes = gemm_workspace_bytes, .run = gemm_run<kArithmetic>};
  table.conv2d = {.workspace_bytes = conv2d_workspace_bytes<kArithmetic, kFilters>,
                  .fprop = conv2d_fprop<kArithmetic, kFilters>,
                  .dgrad = conv2d_dgrad<kArithmetic, kFilters>,
                  .wgrad = conv2d_wgrad<kArithmetic, kFilters>};
  table.softmax = {.forward = softmax_forward<kArithmetic>, .backward = softmax_backward<kArithmetic>};
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
