// The GPU's memory, for kernels/memory.h.
#include <cuda.h>

#include <cstring>
#include <map>
#include <new>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/table.h"

namespace retort::cuda {

cudaStream_t native(Stream stream) {
  static const cudaStream_t own = [] {
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return created;
  }();
  return stream.handle ? static_cast<cudaStream_t>(stream.handle) : own;
}

namespace {

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // clears the error, or the next call would report it
    throw std::bad_alloc();
  }
  check(status, "cudaMalloc");
  return memory;
}

void release(void* memory) { cudaFree(memory); }

/// Page-locked memory that uploads go through, so that the GPU fetches them while the CPU goes on.
class Staging {
 public:
  void upload(cudaStream_t stream, void* device, const void* host, std::size_t bytes) {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % kSlots;
    if (!slot.done) check(cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check(cudaEventSynchronize(slot.done), "cudaEventSynchronize");
    if (slot.bytes < bytes) {
      if (slot.memory) check(cudaFreeHost(slot.memory), "cudaFreeHost");
      slot.memory = nullptr;
      slot.bytes = 0;
      check(cudaMallocHost(&slot.memory, bytes), "cudaMallocHost");
      slot.bytes = bytes;
    }
    std::memcpy(slot.memory, host, bytes);
    check(cudaMemcpyAsync(device, slot.memory, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
    check(cudaEventRecord(slot.done, stream), "cudaEventRecord");
  }

 private:
  static constexpr int kSlots = 4;
  struct Slot {
    void* memory = nullptr;
    std::size_t bytes = 0;
    cudaEvent_t done = nullptr;
  };
  Slot slots_[kSlots];
  int next_ = 0;
};

void upload(Stream stream, void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  // Never destroyed: CUDA may be gone when statics are.
  static Staging& staging = *new Staging;
  staging.upload(native(stream), device, host, bytes);
}

void download(Stream stream, void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, native(stream)), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize");
}

void copy(Stream stream, void* target, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, native(stream)), "cudaMemcpyAsync");
}

void synchronize(Stream stream) { check(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize"); }

/// Page-locked memory is slow to allocate: a released block is kept for the next request of its size.
std::multimap<std::size_t, void*>& free_host_memory() {
  static auto& memory = *new std::multimap<std::size_t, void*>;
  return memory;
}
std::map<void*, std::size_t>& host_memory_in_use() {
  static auto& memory = *new std::map<void*, std::size_t>;
  return memory;
}

void* allocate_host(std::size_t bytes) {
  auto& free = free_host_memory();
  const auto found = free.find(bytes);
  void* memory = nullptr;
  if (found != free.end()) {
    memory = found->second;
    free.erase(found);
  } else {
    check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
  }
  host_memory_in_use()[memory] = bytes;
  return memory;
}

void release_host(void* memory) {
  const auto used = host_memory_in_use().find(memory);
  free_host_memory().emplace(used->second, memory);
  host_memory_in_use().erase(used);
}

void begin_download(Stream stream, void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, native(stream)), "cudaMemcpyAsync");
}

void* record_mark(Stream stream) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaEventRecord(event, native(stream)), "cudaEventRecord");
  return event;
}

void wait_mark(void* mark) {
  const auto event = static_cast<cudaEvent_t>(mark);
  check(cudaEventSynchronize(event), "cudaEventSynchronize");
  check(cudaEventDestroy(event), "cudaEventDestroy");
}

void begin_capture(Stream stream) {
  // Relaxed: the arena may ask for memory meanwhile, which is no work on the stream.
  check(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}

void* end_capture(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(native(stream), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  check(status, "cudaGraphInstantiate");
  return executable;
}

void replay(Stream stream, void* graph) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), native(stream)), "cudaGraphLaunch");
}

void release_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

/// 0 where the driver has no such call.
std::size_t free_bytes() {
  static auto* const ask = driver_function<decltype(cuMemGetInfo)>("cuMemGetInfo");
  std::size_t free = 0, all = 0;
  if (ask && ask(&free, &all) != CUDA_SUCCESS) throw std::runtime_error("cuda: cuMemGetInfo failed");
  return free;
}

}  // namespace

const DeviceMemory& memory() {
  static constexpr DeviceMemory instance = {.asynchronous = true,
                                            .allocate = allocate,
                                            .free_bytes = free_bytes,
                                            .release = release,
                                            .upload = upload,
                                            .download = download,
                                            .copy = copy,
                                            .synchronize = synchronize,
                                            .allocate_host = allocate_host,
                                            .release_host = release_host,
                                            .begin_download = begin_download,
                                            .record_mark = record_mark,
                                            .wait_mark = wait_mark,
                                            .begin_capture = begin_capture,
                                            .end_capture = end_capture,
                                            .replay = replay,
                                            .release_graph = release_graph};
  return instance;
}

const char* unavailable() {
  static const char* const reason = [] {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    return status != cudaSuccess ? cudaGetErrorString(status) : count == 0 ? "no CUDA device" : "";
  }();
  return reason;
}

const char* device_name() {
  static const cudaDeviceProp properties = [] {
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    cudaDeviceProp found{};
    check(cudaGetDeviceProperties(&found, device), "cudaGetDeviceProperties");
    return found;
  }();
  return properties.name;
}

}  // namespace retort::cuda
