// An epilogue, a vector of C at a time. Included once per target, after <hwy/highway.h>.
#if defined(RETORT_KERNELS_CPU_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_EPILOGUE_INL_H_
#undef RETORT_KERNELS_CPU_EPILOGUE_INL_H_
#else
#define RETORT_KERNELS_CPU_EPILOGUE_INL_H_
#endif

#include "kernels/cpu/gemm/epilogue.h"
#include "kernels/cpu/simd/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// min(x, limit), which keeps a NaN in x as relu does.
template <class V>
HWY_INLINE V at_most(V x, V limit) {
  return hn::IfThenElse(hn::Gt(x, limit), limit, x);
}

/// Of the columns of one vector. Lanes: Whole or Tail.
template <class Lanes, class T>
class ColumnEpilogue {
  using D = hn::ScalableTag<float>;

 public:
  ColumnEpilogue(Lanes lanes, const Epilogue<T>& epilogue, std::int64_t col)
      : lanes_(lanes),
        residual_(epilogue.residual),
        relu_(epilogue.relu),
        ceiling_(hn::Set(D(), epilogue.ceiling)),
        scale_(epilogue.scale != nullptr ? lanes.load(D(), epilogue.scale + col) : hn::Set(D(), 1.0f)),
        bias_(epilogue.bias != nullptr ? lanes.load(D(), epilogue.bias + col) : hn::Zero(D())) {}

  /// The vector of C at index `at`, from its sums.
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> sum, std::int64_t at) const {
    const D d;
    auto value = hn::MulAdd(sum, scale_, bias_);
    if (residual_ != nullptr) value = hn::Add(value, lanes_.load(d, residual_ + at));
    return relu_ ? at_most(relu(d, value), ceiling_) : value;
  }

 private:
  Lanes lanes_;
  const T* residual_;
  bool relu_;
  hn::Vec<D> ceiling_, scale_, bias_;
};

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_KERNELS_CPU_EPILOGUE_INL_H_
