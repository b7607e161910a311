#include "engine/core/graph.h"

#include <cstring>
#include <exception>
#include <utility>

#include "kernels/memory.h"

namespace retort {

Graph::Graph(Device device) : device_(device), memory_(std::make_unique<Arena>(device)) {}

Graph::~Graph() {
  if (!graph_) return;
  try {
    memory_of(device_).synchronize({});  // the last replay may still run
  } catch (const std::exception&) {
    // After a fault every call to the device fails; the one that met it first has said so.
  }
  memory_of(device_).release_graph(graph_);
}

void Graph::capture(const std::function<void()>& work) {
  const DeviceMemory& device = memory_of(device_);
  const ArenaScope scope(device_, *memory_);
  device.begin_capture({});
  try {
    work();
  } catch (...) {
    try {
      device.release_graph(device.end_capture({}));
    } catch (const std::exception&) {
      // What went wrong in the work has ended the capture as well, and is what the caller is to read.
    }
    throw;
  }
  graph_ = device.end_capture({});
}

void Graph::replay() { memory_of(device_).replay({}, graph_); }

Readback::Readback(const std::vector<Tensor>& tensors) : device_(tensors.front().device()) {
  const DeviceMemory& device = memory_of(device_);
  for (const Tensor& tensor : tensors) {
    Copy copy{Tensor::empty(tensor.shape(), tensor.dtype()), device.allocate_host(tensor.bytes())};
    device.begin_download({}, copy.host, tensor.raw(), tensor.bytes());
    copies_.push_back(std::move(copy));
  }
  mark_ = device.record_mark({});
}

Readback::~Readback() {
  try {
    if (mark_) memory_of(device_).wait_mark(std::exchange(mark_, nullptr));
  } catch (const std::exception&) {
    // As in ~Graph.
  }
  for (const Copy& copy : copies_) memory_of(device_).release_host(copy.host);
}

std::vector<Tensor> Readback::wait() {
  if (mark_) memory_of(device_).wait_mark(std::exchange(mark_, nullptr));
  std::vector<Tensor> tensors;
  for (const Copy& copy : copies_) {
    std::memcpy(copy.shape_and_dtype.raw(), copy.host, copy.shape_and_dtype.bytes());
    tensors.push_back(copy.shape_and_dtype);
  }
  return tensors;
}

}  // namespace retort
