// The simulator's memory, for kernels/memory.h: every allocation is a buffer whose ends are watched.
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/cuda/table.h"
#include "kernels/simt/simulator.h"

namespace retort::simt {
namespace {

using Graph = std::vector<std::function<void()>>;

void copy(Stream, void* target, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  if (capturing())
    keep([=] { std::memcpy(target, source, bytes); });
  else
    std::memcpy(target, source, bytes);
}

/// What a graph cannot hold, as on a GPU: the host's part of it would not be there when the graph runs.
void refuse_in_capture(const char* what) {
  if (capturing()) throw Error(std::string(what) + ": asked for while a graph is captured; do it before or after");
}

void upload(Stream stream, void* device, const void* host, std::size_t bytes) {
  refuse_in_capture("upload");
  copy(stream, device, host, bytes);
}
void download(Stream stream, void* host, const void* device, std::size_t bytes) {
  refuse_in_capture("download");
  copy(stream, host, device, bytes);
}
void synchronize(Stream) { refuse_in_capture("synchronize"); }

void release_buffer(void* buffer) { release(buffer); }
void* allocate_host(std::size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void release_host(void* memory) { std::free(memory); }
void* record_mark(Stream) { return nullptr; }
void wait_mark(void*) {}

void begin(Stream) { begin_capture(); }
void* end(Stream) { return new Graph(end_capture()); }
void replay(Stream, void* graph) {
  for (const auto& work : *static_cast<Graph*>(graph)) work();
}
void release_graph(void* graph) { delete static_cast<Graph*>(graph); }

}  // namespace

const DeviceMemory& memory() {
  static constexpr DeviceMemory instance = {.asynchronous = true,
                                            .allocate = allocate,
                                            .free_bytes = free_memory,
                                            .release = release_buffer,
                                            .upload = upload,
                                            .download = download,
                                            .copy = copy,
                                            .synchronize = synchronize,
                                            .allocate_host = allocate_host,
                                            .release_host = release_host,
                                            .begin_download = download,
                                            .record_mark = record_mark,
                                            .wait_mark = wait_mark,
                                            .begin_capture = begin,
                                            .end_capture = end,
                                            .replay = replay,
                                            .release_graph = release_graph};
  return instance;
}

}  // namespace retort::simt
