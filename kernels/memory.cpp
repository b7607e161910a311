// The host's memory as a device's, and which devices this build and this machine have.
#include "kernels/memory.h"

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels/cuda/table.h"

namespace retort {
namespace {

constexpr std::align_val_t kAlignment{256};

void* allocate(std::size_t bytes) { return ::operator new((bytes + 255) / 256 * 256, kAlignment); }
std::size_t free_bytes() { return 0; }
void release(void* memory) { ::operator delete(memory, kAlignment); }
void copy_bytes(Stream, void* target, const void* source, std::size_t bytes) {
  if (bytes) std::memcpy(target, source, bytes);
}
void synchronize(Stream) {}
void* record_mark(Stream) { return nullptr; }
void wait_mark(void*) {}

// Work on the host is done within the call that asks for it: a graph would have nothing to record.
[[noreturn]] void no_graphs() { throw std::invalid_argument("graphs: the CPU has none; run the step itself"); }
void begin_capture(Stream) { no_graphs(); }
void* end_capture(Stream) { no_graphs(); }
void replay(Stream, void*) { no_graphs(); }
void release_graph(void*) {}

constexpr DeviceMemory host_memory = {.asynchronous = false,
                                      .allocate = allocate,
                                      .free_bytes = free_bytes,
                                      .release = release,
                                      .upload = copy_bytes,
                                      .download = copy_bytes,
                                      .copy = copy_bytes,
                                      .synchronize = synchronize,
                                      .allocate_host = allocate,
                                      .release_host = release,
                                      .begin_download = copy_bytes,
                                      .record_mark = record_mark,
                                      .wait_mark = wait_mark,
                                      .begin_capture = begin_capture,
                                      .end_capture = end_capture,
                                      .replay = replay,
                                      .release_graph = release_graph};

}  // namespace

const char* device_missing(Device device) {
#ifdef RETORT_CUDA
  if (device == Device::cuda) return cuda::unavailable();
#else
  if (device == Device::cuda) return "is not in this build, which was made without nvcc";
#endif
#ifndef RETORT_SIMT
  if (device == Device::simt) return "is not in this build, which was made without the simulator";
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
