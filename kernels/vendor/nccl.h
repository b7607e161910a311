// NCCL: sums and copies between the devices of several processes, one device each. The library is opened at the first
// use. Everything here throws std::runtime_error with NCCL's text where a call fails.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/types.h"

namespace retort::vendor {

/// An empty string if NCCL can be used, else why not.
const char* nccl_unavailable();

/// What tells a group of processes from all others: one process makes it and hands it to the rest. Where the
/// environment has NCCL_COMM_ID=HOST:PORT every process makes the same one, and rank 0 of the group listens there.
std::string nccl_id();

/// One process's part in a group. All processes make the same calls in the same order; each call is work on the
/// device's own stream, which a graph may capture if the graphs of all processes do.
class Communicator {
 public:
  /// Waits for all `size` processes. device: cuda, of which this process takes the one numbered local_rank (again from
  /// 0 where it sees fewer) before anything lies on one; or simt.
  Communicator(Device device, const std::string& id, int local_rank, int rank, int size);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// sum[i] = the sum over all processes, in place: the same bits everywhere, in an order that NCCL chooses.
  void all_reduce(float* sum, std::size_t count);
  /// Rank 0's bytes, everywhere.
  void broadcast(void* memory, std::size_t bytes);
  /// `bytes` of each process, by rank: all holds size * bytes.
  void all_gather(const void* mine, void* all, std::size_t bytes);

 private:
  Device device_;
  void* communicator_ = nullptr;
};

}  // namespace retort::vendor
