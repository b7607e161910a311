// The processes that train together, each with a part of every batch. A process that runs alone is a group of one, in
// which every call does nothing: whoever uses a group has no case for it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  /// Processes of the group on this machine.
  virtual int local_size() const { return 1; }
  /// Threads for this process, where the group's processes share the cores; 0: as many as one alone has.
  virtual int threads() const { return 0; }

  // All processes make the same calls in the same order. A process that ends otherwise takes the others with it.

  /// sum[i] = ((sum_0[i] + sum_1[i]) + ...) over the ranks, f32 where the group computes, in place: the same bits
  /// everywhere. On the CPU in rank order, whatever their number; on a device in NCCL's own, as work that a graph may
  /// capture if the graphs of all ranks do.
  virtual void all_reduce(const Tensor& sum);
  /// Whether the ranks can exchange sums while they compute: start_all_reduce then returns before its sum is made.
  virtual bool overlaps() const { return false; }
  /// all_reduce(sum) of which the end is not waited for: until finish_all_reduce, `sum` belongs to the group.
  virtual void start_all_reduce(const Tensor& sum) { all_reduce(sum); }
  /// Moves on, without waiting, what start_all_reduce began. To be called now and then by who computes meanwhile; ranks
  /// need not call it equally often.
  virtual void advance() {}
  /// Waits for all sums that start_all_reduce began.
  virtual void finish_all_reduce() {}
  /// Rank 0's bytes, everywhere.
  virtual void broadcast(std::span<std::byte> bytes);
  /// Everybody's, by rank.
  virtual std::vector<std::string> gather(const std::string& mine);
  /// Waits for all.
  virtual void barrier();
  /// Ends all processes, this one with the status.
  [[noreturn]] virtual void abort(int status);

  bool is_first() const { return rank() == 0; }
  /// Whether it is true anywhere.
  bool any(bool mine);
  /// Rank 0's, everywhere.
  std::string broadcast_text(const std::string& text);
  /// Tensors on the CPU with their shapes; an empty one stays empty.
  std::vector<Tensor> gather_tensors(const Tensor& mine);
};

/// This process's group: of one, until join_group.
Group& group();

/// While it lives, this process is a group of itself alone, with as many neighbours and threads as before: for whole
/// runs that the ranks share out.
class Alone {
 public:
  Alone();
  ~Alone();
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  std::unique_ptr<Group> others_;
};

/// Joins the processes that mpirun started with this one, if it did; those of torchrun and srun wait for join_devices.
/// Throws UsageError where this build has no MPI, or the launcher's variables make no sense.
void join_group();

/// Lets the processes add what lies on their devices, where that is no CPU. For a process alone it does nothing, and
/// likewise from the second call on. Throws UsageError where the processes cannot compute there together.
void join_devices(Device device);

/// Takes leave, where the run has ended well.
void leave_group();

}  // namespace retort
