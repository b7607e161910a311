// The soft terms other than plain KD's (formulas: kernels/loss.h), as loss.cpp calls them. Included once per target.
#include "kernels/loss.h"

#if defined(RETORT_KERNELS_CPU_SOFT_TERMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_SOFT_TERMS_INL_H_
#undef RETORT_KERNELS_CPU_SOFT_TERMS_INL_H_
#else
#define RETORT_KERNELS_CPU_SOFT_TERMS_INL_H_
#endif

namespace retort::cpu {
namespace HWY_NAMESPACE {

/// All but DIST. Returns the soft term of one row of a batch of `rows` and adds its gradient, times its weight in their
/// mean, to dz (which may be null). z, v and dz are the row's; `label` points to its label, and is read where
/// soft_reads_labels(settings.loss); `kept` is room for three rows.
double add_soft_row(Rows rows, const DistillationSettings& settings, const std::int64_t* label, const float* z,
                    const float* v, float* dz, float* kept);

/// Two arrays [rows, classes] of floats, both nets' probabilities, and what is kept of each class.
std::size_t dist_loss_workspace_bytes(Rows rows);

/// Returns DIST's term of the batch and adds its gradient, times its weight, to dz (which may be null). The bits do not
/// depend on the number of threads.
double add_dist_loss(Rows rows, const DistillationSettings& settings, const float* z, const float* v, float* dz,
                     void* workspace);

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu

#endif
