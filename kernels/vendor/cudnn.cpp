// Convolutions and softmax by cuDNN 9 (contracts: kernels/conv2d.h, kernels/softmax.h). cuDNN takes untyped pointers
// beside descriptors, and so do these.
//
// For each shape cuDNN times its algorithms once (cudnnFindConvolution...Algorithm, on buffers of its own) and the
// fastest is kept; workspace_bytes asks first, so that happens before any timing and before a step is captured.
#include <cudnn.h>

#include <array>
#include <map>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/table.h"
#include "kernels/vendor/arithmetic.h"
#include "kernels/vendor/around.h"
#include "kernels/vendor/library.h"
#include "kernels/vendor/table.h"

namespace retort::vendor {

/// An empty string if cuDNN can be used, else why not.
const char* cudnn_unavailable();

namespace {

// What is used of the library, as pointers under its own names.
#define RETORT_CUDNN_FUNCTIONS(X)                   \
  X(cudnnCreate)                                    \
  X(cudnnSetStream)                                 \
  X(cudnnGetErrorString)                            \
  X(cudnnGetLastErrorString)                        \
  X(cudnnCreateTensorDescriptor)                    \
  X(cudnnSetTensor4dDescriptor)                     \
  X(cudnnCreateFilterDescriptor)                    \
  X(cudnnSetFilter4dDescriptor)                     \
  X(cudnnCreateConvolutionDescriptor)               \
  X(cudnnSetConvolution2dDescriptor)                \
  X(cudnnSetConvolutionGroupCount)                  \
  X(cudnnSetConvolutionMathType)                    \
  X(cudnnFindConvolutionForwardAlgorithm)           \
  X(cudnnFindConvolutionBackwardDataAlgorithm)      \
  X(cudnnFindConvolutionBackwardFilterAlgorithm)    \
  X(cudnnGetConvolutionForwardWorkspaceSize)        \
  X(cudnnGetConvolutionBackwardDataWorkspaceSize)   \
  X(cudnnGetConvolutionBackwardFilterWorkspaceSize) \
  X(cudnnConvolutionForward)                        \
  X(cudnnConvolutionBackwardData)                   \
  X(cudnnConvolutionBackwardFilter)                 \
  X(cudnnSoftmaxForward)                            \
  X(cudnnSoftmaxBackward)

struct Cudnn {
  Library library{"libcudnn.so.9", "libcudnn.so"};
// NOLINTBEGIN(bugprone-macro-parentheses): a member's name
#define RETORT_LOAD(name) decltype(&::name) name = reinterpret_cast<decltype(&::name)>(library.find(#name));
  // NOLINTEND(bugprone-macro-parentheses)
  RETORT_CUDNN_FUNCTIONS(RETORT_LOAD)
#undef RETORT_LOAD
};

/// Never destroyed: CUDA may be gone when statics are.
Cudnn& cudnn() {
  static Cudnn& instance = *new Cudnn;
  return instance;
}

void check(cudnnStatus_t status, const char* call, int line) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> detail{};
  cudnn().cudnnGetLastErrorString(detail.data(), detail.size());
  throw std::runtime_error(failed_call(call, "kernels/vendor/cudnn.cpp", line,
                                       std::string(cudnn().cudnnGetErrorString(status)) + " " + detail.data()));
}
#define RETORT_CHECK(function, ...) check(cudnn().function(__VA_ARGS__), #function, __LINE__)

cudnnHandle_t handle() {
  static const cudnnHandle_t instance = [] {
    if (*cudnn_unavailable()) throw std::runtime_error(std::string("cudnn: ") + cudnn_unavailable());
    cudnnHandle_t created = nullptr;
    RETORT_CHECK(cudnnCreate, &created);
    return created;
  }();
  return instance;
}

cudnnHandle_t handle_on(Stream stream) {
  RETORT_CHECK(cudnnSetStream, handle(), cuda::native(stream));
  return handle();
}

int extent(std::int64_t value) { return static_cast<int>(value); }

cudnnDataType_t data_type(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

cudnnTensorDescriptor_t tensor(Arithmetic arithmetic, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  cudnnTensorDescriptor_t descriptor = nullptr;
  RETORT_CHECK(cudnnCreateTensorDescriptor, &descriptor);
  RETORT_CHECK(cudnnSetTensor4dDescriptor, descriptor, CUDNN_TENSOR_NHWC, data_type(arithmetic), extent(n), extent(c),
               extent(h), extent(w));
  return descriptor;
}

// ---- Convolutions

constexpr std::size_t kMaxWorkspace = std::size_t{2} << 30;
constexpr std::size_t kAlignment = 256;

/// One pass of one shape, as cuDNN knows it. Plans and their descriptors live until the program ends.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = 0;  ///< of the pass's own enumeration
  std::size_t workspace_bytes = 0;
};

/// Takes the fastest algorithm that fits: `find` times them all, `size` gives the workspace of one.
template <class Performance, class Find, class Size>
void choose(Plan& plan, Arithmetic arithmetic, int algorithms, const Find& find, const Size& size) {
  std::vector<Performance> tried(2 * algorithms);  // each by FMA and on tensor cores
  int count = 0;
  find(extent(static_cast<std::int64_t>(tried.size())), &count, tried.data());
  tried.resize(count);
  for (const Performance& candidate : tried) {
    if (candidate.status != CUDNN_STATUS_SUCCESS) continue;
    // Exact f32 stays on FMA; a time that tensor cores reached says nothing of it.
    if (arithmetic == Arithmetic::f32 && candidate.mathType != CUDNN_FMA_MATH) continue;
    if (arithmetic != Arithmetic::f32) RETORT_CHECK(cudnnSetConvolutionMathType, plan.convolution, candidate.mathType);
    std::size_t bytes = 0;
    if (size(candidate.algo, &bytes) != CUDNN_STATUS_SUCCESS || bytes > kMaxWorkspace) continue;
    plan.algorithm = candidate.algo;
    plan.workspace_bytes = bytes;
    return;
  }
  throw std::runtime_error("cudnn: none of its algorithms computes this convolution");
}

Plan make_plan(ConvPass pass, const Conv2dGeometry& g, Arithmetic arithmetic) {
  Plan plan;
  plan.x = tensor(arithmetic, g.n, g.h, g.w, g.c);
  plan.y = tensor(arithmetic, g.n, g.p(), g.q(), g.k);
  RETORT_CHECK(cudnnCreateFilterDescriptor, &plan.w);
  RETORT_CHECK(cudnnSetFilter4dDescriptor, plan.w, data_type(arithmetic), CUDNN_TENSOR_NHWC, extent(g.k),
               extent(g.c_per_group()), extent(g.r), extent(g.s));
  RETORT_CHECK(cudnnCreateConvolutionDescriptor, &plan.convolution);
  RETORT_CHECK(cudnnSetConvolution2dDescriptor, plan.convolution, extent(g.pad_h), extent(g.pad_w), extent(g.stride_h),
               extent(g.stride_w), extent(g.dilation_h), extent(g.dilation_w), CUDNN_CROSS_CORRELATION,
               CUDNN_DATA_FLOAT);
  RETORT_CHECK(cudnnSetConvolutionGroupCount, plan.convolution, extent(g.groups));
  // The default lets f32 round to tf32.
  RETORT_CHECK(cudnnSetConvolutionMathType, plan.convolution,
               arithmetic == Arithmetic::f32    ? CUDNN_FMA_MATH
               : arithmetic == Arithmetic::tf32 ? CUDNN_DEFAULT_MATH
                                                : CUDNN_TENSOR_OP_MATH);
  switch (pass) {
    case ConvPass::fprop:
      choose<cudnnConvolutionFwdAlgoPerf_t>(
          plan, arithmetic, CUDNN_CONVOLUTION_FWD_ALGO_COUNT,
          [&](auto... out) {
            RETORT_CHECK(cudnnFindConvolutionForwardAlgorithm, handle(), plan.x, plan.w, plan.convolution, plan.y,
                         out...);
          },
          [&](auto algorithm, std::size_t* bytes) {
            return cudnn().cudnnGetConvolutionForwardWorkspaceSize(handle(), plan.x, plan.w, plan.convolution, plan.y,
                                                                   algorithm, bytes);
          });
      break;
    case ConvPass::dgrad:
      choose<cudnnConvolutionBwdDataAlgoPerf_t>(
          plan, arithmetic, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
          [&](auto... out) {
            RETORT_CHECK(cudnnFindConvolutionBackwardDataAlgorithm, handle(), plan.w, plan.y, plan.convolution, plan.x,
                         out...);
          },
          [&](auto algorithm, std::size_t* bytes) {
            return cudnn().cudnnGetConvolutionBackwardDataWorkspaceSize(handle(), plan.w, plan.y, plan.convolution,
                                                                        plan.x, algorithm, bytes);
          });
      break;
    case ConvPass::wgrad:
      choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
          plan, arithmetic, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT,
          [&](auto... out) {
            RETORT_CHECK(cudnnFindConvolutionBackwardFilterAlgorithm, handle(), plan.x, plan.y, plan.convolution,
                         plan.w, out...);
          },
          [&](auto algorithm, std::size_t* bytes) {
            return cudnn().cudnnGetConvolutionBackwardFilterWorkspaceSize(handle(), plan.x, plan.y, plan.convolution,
                                                                          plan.w, algorithm, bytes);
          });
      break;
  }
  return plan;
}

const Plan& plan_for(ConvPass pass, const Conv2dGeometry& g, Arithmetic arithmetic) {
  using Key = std::array<std::int64_t, 16>;
  static std::mutex& mutex = *new std::mutex;
  static std::map<Key, Plan>& plans = *new std::map<Key, Plan>;
  const Key key = {g.n,
                   g.h,
                   g.w,
                   g.c,
                   g.k,
                   g.r,
                   g.s,
                   g.stride_h,
                   g.stride_w,
                   g.pad_h,
                   g.pad_w,
                   g.dilation_h,
                   g.dilation_w,
                   g.groups,
                   static_cast<std::int64_t>(pass),
                   static_cast<std::int64_t>(arithmetic)};
  const std::lock_guard lock(mutex);
  const auto found = plans.find(key);
  return found != plans.end() ? found->second : plans.emplace(key, make_plan(pass, g, arithmetic)).first->second;
}

/// Rows of the filter as a matrix [r s c, k]: cuDNN's layout is its transpose.
std::int64_t filter_rows(const Conv2dGeometry& g) { return g.r * g.s * g.c_per_group(); }

/// Bytes in front of cuDNN's workspace for the filter in cuDNN's layout.
template <Arithmetic kArithmetic, Filters kFilters>
std::size_t filter_bytes(const Conv2dGeometry& g) {
  if (kFilters == Filters::krsc) return 0;
  const std::size_t bytes = static_cast<std::size_t>(filter_rows(g) * g.k) * size_of(dtype_of(kArithmetic));
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// The filter in cuDNN's layout: as given, or converted at the front of the workspace.
template <Arithmetic kArithmetic, Filters kFilters>
const void* krsc_filter(Stream stream, const Conv2dGeometry& g, const void* w, void* workspace) {
  if (kFilters == Filters::krsc) return w;
  constexpr DType kDType = dtype_of(kArithmetic);
  transpose(stream, filter_rows(g), g.k, kDType, w, kDType, workspace);
  return workspace;
}

constexpr float kOne = 1, kZero = 0;

template <Arithmetic kArithmetic, Filters kFilters>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  return filter_bytes<kArithmetic, kFilters>(g) + plan_for(pass, g, kArithmetic).workspace_bytes;
}

template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_fprop(Stream stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue,
                  void* y, void* workspace) {
  const Plan& plan = plan_for(ConvPass::fprop, g, kArithmetic);
  const void* filter = krsc_filter<kArithmetic, kFilters>(stream, g, w, workspace);
  RETORT_CHECK(cudnnConvolutionForward, handle_on(stream), &kOne, plan.x, x, plan.w, filter, plan.convolution,
               static_cast<cudnnConvolutionFwdAlgo_t>(plan.algorithm),
               static_cast<char*>(workspace) + filter_bytes<kArithmetic, kFilters>(g), plan.workspace_bytes, &kZero,
               plan.y, y);
  finish(stream, g.n * g.p() * g.q(), g.k, epilogue, dtype_of(kArithmetic), y);
}

template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_dgrad(Stream stream, const Conv2dGeometry& g, const void* dy, const void* w, void* dx, void* workspace) {
  const Plan& plan = plan_for(ConvPass::dgrad, g, kArithmetic);
  const void* filter = krsc_filter<kArithmetic, kFilters>(stream, g, w, workspace);
  RETORT_CHECK(cudnnConvolutionBackwardData, handle_on(stream), &kOne, plan.w, filter, plan.y, dy, plan.convolution,
               static_cast<cudnnConvolutionBwdDataAlgo_t>(plan.algorithm),
               static_cast<char*>(workspace) + filter_bytes<kArithmetic, kFilters>(g), plan.workspace_bytes, &kZero,
               plan.x, dx);
}

template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_wgrad(Stream stream, const Conv2dGeometry& g, const void* x, const void* dy, void* dw, void* workspace) {
  const Plan& plan = plan_for(ConvPass::wgrad, g, kArithmetic);
  void* const gradient = kFilters == Filters::krsc ? dw : workspace;
  RETORT_CHECK(cudnnConvolutionBackwardFilter, handle_on(stream), &kOne, plan.x, x, plan.y, dy, plan.convolution,
               static_cast<cudnnConvolutionBwdFilterAlgo_t>(plan.algorithm),
               static_cast<char*>(workspace) + filter_bytes<kArithmetic, kFilters>(g), plan.workspace_bytes, &kZero,
               plan.w, gradient);
  if (kFilters == Filters::rsck)
    transpose(stream, g.k, filter_rows(g), dtype_of(kArithmetic), gradient, DType::f32, dw);
}

// ---- Softmax

cudnnTensorDescriptor_t rows_descriptor(Arithmetic arithmetic, Rows rows) {
  using Key = std::array<std::int64_t, 3>;
  static std::mutex& mutex = *new std::mutex;
  static std::map<Key, cudnnTensorDescriptor_t>& descriptors = *new std::map<Key, cudnnTensorDescriptor_t>;
  const std::lock_guard lock(mutex);
  cudnnTensorDescriptor_t& descriptor = descriptors[{static_cast<std::int64_t>(arithmetic), rows.rows, rows.classes}];
  if (!descriptor) descriptor = tensor(arithmetic, rows.rows, 1, 1, rows.classes);
  return descriptor;
}

/// At a temperature other than 1 our own kernel divides first: cuDNN has none.
template <Arithmetic kArithmetic>
void softmax_forward(Stream stream, Rows rows, double temperature, const void* x, void* y) {
  if (temperature != 1) {
    const KernelTable& ours = kArithmetic == Arithmetic::bf16 ? cuda::table_bf16() : cuda::table_f32();
    ours.elementwise.scale(stream, rows.rows * rows.classes, 1 / temperature, x, y);
    x = y;
  }
  const cudnnHandle_t handle = handle_on(stream);
  const cudnnTensorDescriptor_t descriptor = rows_descriptor(kArithmetic, rows);
  RETORT_CHECK(cudnnSoftmaxForward, handle, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL, &kOne, descriptor, x,
               &kZero, descriptor, y);
}

template <Arithmetic kArithmetic>
void softmax_backward(Stream stream, Rows rows, double temperature, const void* y, const void* dy, void* dx) {
  const auto factor = static_cast<float>(1 / temperature);
  const cudnnHandle_t handle = handle_on(stream);
  const cudnnTensorDescriptor_t descriptor = rows_descriptor(kArithmetic, rows);
  RETORT_CHECK(cudnnSoftmaxBackward, handle, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL, &factor, descriptor, y,
               descriptor, dy, &kZero, descriptor, dx);
}

}  // namespace

const char* cudnn_unavailable() { return cudnn().library.why_not().c_str(); }

template <Arithmetic kArithmetic, Filters kFilters>
Conv2dKernels conv2d() {
  return {.workspace_bytes = conv2d_workspace_bytes<kArithmetic, kFilters>,
          .fprop = conv2d_fprop<kArithmetic, kFilters>,
          .dgrad = conv2d_dgrad<kArithmetic, kFilters>,
          .wgrad = conv2d_wgrad<kArithmetic, kFilters>};
}
template Conv2dKernels conv2d<Arithmetic::f32, Filters::rsck>();
template Conv2dKernels conv2d<Arithmetic::tf32, Filters::rsck>();
template Conv2dKernels conv2d<Arithmetic::bf16, Filters::rsck>();
template Conv2dKernels conv2d<Arithmetic::f32, Filters::krsc>();
template Conv2dKernels conv2d<Arithmetic::tf32, Filters::krsc>();
template Conv2dKernels conv2d<Arithmetic::bf16, Filters::krsc>();

template <Arithmetic kArithmetic>
SoftmaxKernels softmax() {
  return {.forward = softmax_forward<kArithmetic>, .backward = softmax_backward<kArithmetic>};
}
template SoftmaxKernels softmax<Arithmetic::f32>();
template SoftmaxKernels softmax<Arithmetic::tf32>();
template SoftmaxKernels softmax<Arithmetic::bf16>();

}  // namespace retort::vendor
