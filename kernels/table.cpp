#include "kernels/table.h"

#include <stdexcept>
#include <string>

#include "kernels/bfloat16.h"
#include "kernels/cuda/table.h"
#include "kernels/int8.h"
#include "kernels/memory.h"
#include "kernels/reference/table.h"

namespace retort {

namespace cpu {
template <class T>
const KernelTable& table();
const Int8Kernels& int8_kernels();
}  // namespace cpu
namespace reference {
const Int8Kernels& int8_kernels();
}  // namespace reference

#ifdef RETORT_INFERENCE
// Small programs compute in f32 on the CPU, and nothing here names the tables that they leave out.
const KernelTable& kernels_for(Device device, DType dtype) {
  if (device == Device::cpu && dtype == DType::f32) return cpu::table<float>();
  throw std::invalid_argument(std::string("kernels_for: ") + to_string(device) +
                              " in another type than f32 is not in this program");
}
#else
const KernelTable& kernels_for(Device device, DType dtype) {
  const auto lacks = [&](const char* what) {
    return std::invalid_argument(std::string("kernels_for: ") + to_string(device) + " " + what);
  };
  if (!is_floating(dtype)) throw lacks("computes in f32, f64 or bf16; integers hold labels");
  const bool on_cpu = device == Device::cpu || device == Device::reference;
  if (device == Device::reference && dtype == DType::bf16) throw lacks("has no bf16 kernels; compute in f32");
  if (on_cpu && dtype == DType::f64) return reference::table<double>();
  if (device == Device::cpu) return dtype == DType::bf16 ? cpu::table<BFloat16>() : cpu::table<float>();
  if (device == Device::reference) return reference::table<float>();
  if (dtype == DType::f64) throw lacks("has no f64 kernels; compute in f32 or bf16");
#ifdef RETORT_SIMT
  if (device == Device::simt) return dtype == DType::bf16 ? simt::table_bf16() : simt::table_f32();
#endif
#ifdef RETORT_CUDA
  if (device == Device::cuda) return dtype == DType::bf16 ? cuda::table_bf16() : cuda::table_f32();
#endif
  throw lacks(device_missing(device));
}
#endif

const Int8Kernels& int8_kernels_for(Device device) {
  if (device == Device::cpu) return cpu::int8_kernels();
  if (device == Device::reference) return reference::int8_kernels();
  throw std::invalid_argument(std::string("int8_kernels_for: ") + to_string(device) +
                              " has no 8-bit kernels; compute on the CPU");
}

}  // namespace retort
