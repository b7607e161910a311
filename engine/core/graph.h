// A step of work on a device, captured once and replayed with one call, and results that are read back late: what keeps
// a GPU from waiting for the CPU between kernels, and the CPU for the GPU between steps.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/tensor.h"

namespace retort {

/// The same kernels on the same addresses, every time. What changes from replay to replay lies in tensors made before
/// the capture, which the caller refills (Tensor::copy_from).
class Graph {
 public:
  explicit Graph(Device device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Writes down what `work` asks of the device; nothing runs. Tensors that it makes belong to the graph's own memory,
  /// which no one else uses: those that outlive it hold the results of the last replay. The graph must outlive them.
  /// Throws Error (or the simulator's) if work waits for the device or copies from the CPU.
  void capture(const std::function<void()>& work);
  void replay();
  bool captured() const { return graph_ != nullptr; }

 private:
  Device device_;
  std::unique_ptr<Arena> memory_;
  void* graph_ = nullptr;
};

/// Copies of tensors on their way to the CPU.
class Readback {
 public:
  /// Asks for the copies behind all work so far. The tensors lie on one device and are not needed afterwards.
  explicit Readback(const std::vector<Tensor>& tensors);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  /// Waits for them; on the CPU, in the order given.
  std::vector<Tensor> wait();

 private:
  struct Copy {
    Tensor shape_and_dtype;  ///< on the CPU, uninitialised until wait()
    void* host = nullptr;
  };
  Device device_;
  std::vector<Copy> copies_;
  void* mark_ = nullptr;
};

}  // namespace retort
