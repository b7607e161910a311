#include "kernels/memory.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels/cuda/table.h"

namespace retort {
namespace {

void* allocate(std::size_t bytes) {
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void release(void* memory) { std::free(memory); }
void copy_bytes(Stream, void* target, const void* source, std::size_t bytes) {
  if (bytes) std::memcpy(target, source, bytes);
}
void synchronize(Stream) {}

constexpr DeviceMemory host_memory = {.host_accessible = true,
                                      .allocate = allocate,
                                      .release = release,
                                      .upload = copy_bytes,
                                      .download = copy_bytes,
                                      .copy = copy_bytes,
                                      .synchronize = synchronize};

}  // namespace

const char* device_missing(Device device) {
#ifdef RETORT_CUDA
  if (device == Device::cuda) return cuda::unavailable();
#else
  if (device == Device::cuda) return "is not in this build, which was made without nvcc";
#endif
#ifndef RETORT_SIMT
  if (device == Device::simt) return "is not in this build, which was made without Boost.Context";
#endif
  return "";
}

bool device_available(Device device) { return *device_missing(device) == 0; }

const DeviceMemory& memory_of(Device device) {
  if (device == Device::cpu || device == Device::reference) return host_memory;
#ifdef RETORT_SIMT
  if (device == Device::simt) return simt::memory();
#endif
#ifdef RETORT_CUDA
  if (device == Device::cuda) return cuda::memory();
#endif
  throw std::invalid_argument(std::string(to_string(device)) + " " + device_missing(device));
}

const char* to_string(Device device) {
  switch (device) {
    case Device::cpu: return "cpu";
    case Device::reference: return "reference";
    case Device::cuda: return "cuda";
    case Device::simt: return "simt";
  }
  return "?";
}

}  // namespace retort
