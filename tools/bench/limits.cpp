#include "tools/bench/limits.h"

#include <algorithm>
#include <map>

#include "engine/core/kernels.h"
#include "kernels/cuda/table.h"
#include "kernels/memory.h"
#include "tools/bench/bench.h"
#ifdef RETORT_VENDOR
#include "kernels/vendor/table.h"
#endif

namespace retort {
namespace {

DeviceLimits measure_cuda([[maybe_unused]] const std::string& precision) {
  DeviceLimits limits;
#ifdef RETORT_CUDA
  constexpr std::int64_t kCopyBytes = std::int64_t{1} << 30;
  constexpr int kRepeats = 5;
  limits.name = cuda::device_name();

  Backend backend = find_backend("--backend", "cuda", precision, Subject::gemm);
#ifdef RETORT_VENDOR
  if (*vendor::unavailable(vendor::Vendor::cublas) == 0)
    backend = find_backend("--backend", "cublas", precision, Subject::gemm);
#endif
  limits.peak_backend = backend.name;
  {
    const Tensor source = random_tensor({kCopyBytes / 4}, DType::f32, Device::cuda, 1, Random(0)),
                 target = Tensor::empty_like(source, source.shape());
    const auto copy = [=] { memory_of(Device::cuda).copy({}, target.raw(), source.raw(), source.bytes()); };
    limits.bandwidth = 2.0 * kCopyBytes / measure({{copy, Device::cuda}}, kRepeats).front().seconds;
  }
  const std::int64_t size = precision == "fp32" ? 4096 : 8192;
  const GemmGeometry g{.m = size, .n = size, .k = size};
  const Tensor a = random_tensor({size, size}, backend.dtype, Device::cuda, 1, Random(1)),
               b = random_tensor({size, size}, backend.dtype, Device::cuda, 1, Random(2)),
               c = Tensor::empty_like(a, a.shape());
  const Workspace workspace(backend.table->gemm.workspace_bytes(g), Device::cuda);
  const auto product = [&] {
    backend.table->gemm.run({}, g, a.raw(), b.raw(), nullptr, false, c.raw(), workspace.data());
  };
  const auto length = static_cast<double>(size);
  limits.peak_flops = 2 * length * length * length / measure({{product, Device::cuda}}, kRepeats).front().seconds;
#endif
  return limits;
}

}  // namespace

Tensor random_tensor(const Shape& shape, DType dtype, Device device, double std, Random random) {
  // Not a power of two: rows do not repeat at once.
  constexpr std::int64_t kBlock = (1 << 20) - 3;
  Tensor block = Tensor::empty({std::min(shape.count(), kBlock)});
  fill_normal(block, 0, std, random);
  block = block.to(device);
  if (dtype != DType::f32) block = block.to(dtype);
  if (block.count() == shape.count()) return block.reshaped(shape);
  Tensor result = Tensor::empty(shape, dtype, device);
  const DeviceMemory& memory = memory_of(device);
  auto* const bytes = static_cast<char*>(result.raw());
  memory.copy({}, bytes, block.raw(), block.bytes());
  for (std::size_t done = block.bytes(); done < result.bytes(); done *= 2)
    memory.copy({}, bytes + done, bytes, std::min(done, result.bytes() - done));
  return result;
}

const DeviceLimits& cuda_limits(const std::string& precision) {
  static std::map<std::string, DeviceLimits> measured;
  const auto found = measured.find(precision);
  return found != measured.end() ? found->second : measured.emplace(precision, measure_cuda(precision)).first->second;
}

}  // namespace retort
