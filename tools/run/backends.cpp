#include "tools/run/backends.h"

#include <string_view>

#include "engine/core/check.h"
#include "kernels/cuda/table.h"
#include "kernels/memory.h"
#ifdef RETORT_HAS_LADDER
#include "kernels/cuda/ladder/ladder.h"
#endif
#ifdef RETORT_VENDOR
#include "kernels/vendor/table.h"
#endif

namespace retort {
namespace {

constexpr const char* kNames =
#ifdef RETORT_HAS_LADDER
    "give cpu, reference, cuda, cuda_tf32, simt, simt_tf32, cublas, cudnn, or a step of the ladder such as "
    "cuda:conv2d.1_naive";
#else
    "give cpu, reference, cuda, cuda_tf32, simt, simt_tf32, cublas or cudnn";
#endif

DType dtype_of(const std::string& precision) { return precision == "bf16" ? DType::bf16 : DType::f32; }

void require(const char* flag, const std::string& name, Device device) {
  if (!device_available(device)) throw UsageError(text(flag, ": ", name, ": ", device_missing(device), "; use cpu"));
}

/// Our own kernels on a device that is available.
const KernelTable& own_table(Device device, const std::string& precision) {
#ifdef RETORT_CUDA
  if (precision == "tf32" && device == Device::cuda) return cuda::table_tf32();
#endif
#ifdef RETORT_SIMT
  if (precision == "tf32" && device == Device::simt) return simt::table_tf32();
#endif
  return kernels_for(device, dtype_of(precision));
}

#ifdef RETORT_HAS_LADDER
/// Null if there is none of the name.
const LadderStep* ladder_step([[maybe_unused]] Device device, [[maybe_unused]] std::string_view step) {
#ifdef RETORT_CUDA
  if (device == Device::cuda) return cuda::find_ladder_step(step);
#endif
#ifdef RETORT_SIMT
  if (device == Device::simt) return simt::find_ladder_step(step);
#endif
  return nullptr;
}
#endif

bool has(Subject subject, const std::string& vendor) {
  return vendor == "cublas" ? subject == Subject::gemm
                            : subject == Subject::conv || subject == Subject::softmax || subject == Subject::step;
}

const KernelTable& vendor_table(const char* flag, const std::string& name,
                                [[maybe_unused]] const std::string& precision, Subject subject) {
  if (!has(subject, name))
    throw UsageError(text(flag, ": ", name, ": does not compute this; cublas has gemm, cudnn conv, softmax and step"));
#ifdef RETORT_VENDOR
  for (const auto& [vendor, used] : {std::pair{vendor::Vendor::cublas, name == "cublas" || subject == Subject::step},
                                     std::pair{vendor::Vendor::cudnn, name == "cudnn"}})
    if (used && *vendor::unavailable(vendor))
      throw UsageError(text(flag, ": ", name, ": ", vendor::unavailable(vendor)));
  const auto filters = subject == Subject::conv ? vendor::Filters::krsc : vendor::Filters::rsck;
  return precision == "bf16"   ? vendor::table_bf16(filters)
         : precision == "tf32" ? vendor::table_tf32(filters)
                               : vendor::table_f32(filters);
#else
  throw UsageError(text(flag, ": ", name, ": is not in this build, which was made without nvcc or the headers of ",
                        "cuBLAS and cuDNN; use cpu"));
#endif
}

}  // namespace

Backend find_backend(const char* flag, const std::string& name, const std::string& precision, Subject subject) {
  if (name == "cpu" || name == "reference") {
    const Device device = name == "cpu" ? Device::cpu : Device::reference;
    if (precision == "tf32" || (precision == "bf16" && device == Device::reference))
      throw UsageError(text("--precision: ", precision, " needs another backend; ", name, " has ",
                            device == Device::cpu ? "fp32 and bf16" : "fp32 alone"));
    return {name, &kernels_for(device, dtype_of(precision)), Device::cpu, dtype_of(precision), precision};
  }
  if (name == "cublas" || name == "cudnn") {
    require(flag, name, Device::cuda);
    return {name, &vendor_table(flag, name, precision, subject), Device::cuda, dtype_of(precision), precision};
  }
  for (const Device device : {Device::cuda, Device::simt}) {
    const std::string own = to_string(device);
    if (name == own || name == own + "_tf32") {
      require(flag, name, device);
      const std::string chosen = name == own ? precision : "tf32";
      return {name, &own_table(device, chosen), device, dtype_of(chosen), chosen};
    }
#ifdef RETORT_HAS_LADDER
    if (name.starts_with(own + ":")) {
      require(flag, name, device);
      if (const LadderStep* step = ladder_step(device, std::string_view(name).substr(own.size() + 1)))
        return {name, &step->table, device, step->dtype, step->dtype == DType::bf16 ? "bf16" : "fp32"};
    }
#endif
  }
  throw UsageError(text(flag, ": '", name, "' is not known; ", kNames));
}

}  // namespace retort
