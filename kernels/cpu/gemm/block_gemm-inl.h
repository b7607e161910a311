// The blocked matrix product (see block_gemm.h). Included once per target, after <hwy/highway.h>.
#if defined(RETORT_KERNELS_CPU_BLOCK_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_BLOCK_GEMM_INL_H_
#undef RETORT_KERNELS_CPU_BLOCK_GEMM_INL_H_
#else
#define RETORT_KERNELS_CPU_BLOCK_GEMM_INL_H_
#endif

#include "kernels/cpu/gemm/block_gemm.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Computes a rectangle of C on the calling thread. scratch is private to the call.
template <class Arithmetic, class Out>
void block_gemm(const BlockGemm<typename Arithmetic::Element, Out>& product, const Range2d& range, void* scratch);
template <>
void block_gemm<FloatArithmetic, float>(const BlockGemm<float>& product, const Range2d& range, void* scratch);

/// Floats of a whole B, packed, and its packing: BlockGemm::packed. target is aligned to 64 bytes.
std::int64_t packed_floats(std::int64_t depth, std::int64_t cols);
void pack_all(const StoredB<float>& b, std::int64_t depth, std::int64_t cols, float* target);

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_KERNELS_CPU_BLOCK_GEMM_INL_H_
