// The simulator's memory, for kernels/memory.h: every allocation is a buffer whose ends are watched.
#include <cstring>

#include "kernels/cuda/table.h"
#include "kernels/simt/simulator.h"

namespace retort::simt {
namespace {

void copy(Stream, void* target, const void* source, std::size_t bytes) {
  if (bytes) std::memcpy(target, source, bytes);
}

void release_buffer(void* buffer) { release(buffer); }
void synchronize(Stream) {}

}  // namespace

const DeviceMemory& memory() {
  static constexpr DeviceMemory instance = {.host_accessible = true,
                                            .allocate = allocate,
                                            .release = release_buffer,
                                            .upload = copy,
                                            .download = copy,
                                            .copy = copy,
                                            .synchronize = synchronize};
  return instance;
}

}  // namespace retort::simt
