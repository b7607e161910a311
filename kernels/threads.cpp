#include "kernels/threads.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int available_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

thread_local bool inside_task = false;

/// Workers sleep on `generation_`; each new generation is one job. They spin briefly first, as a training step issues
/// kernels back to back and waking a thread costs more than a small kernel.
///
/// There are no more of them than cores: threads that wait for each other's turn on a core would spin away the time of
/// those that work. Kernels split their work by threads() all the same, so that a machine of few cores sees the splits
/// of one with more.
class Pool {
 public:
  explicit Pool(int threads)
      : threads_(threads),
        running_(std::min(threads, available_cores())),
        shares_(std::make_unique<Share[]>(static_cast<std::size_t>(running_))) {
    try {
      for (int thread = 1; thread < running_; ++thread) workers_.emplace_back([this, thread] { work(thread); });
    } catch (const std::system_error& error) {
      stop();
      throw std::runtime_error("cannot start " + std::to_string(running_) + " threads (" + error.code().message() +
                               "); give fewer with --threads");
    } catch (...) {
      stop();
      throw;
    }
  }

  ~Pool() { stop(); }

  int threads() const { return threads_; }

  void run(std::int64_t count, FunctionRef<void(std::int64_t, int)> task) {
    const std::lock_guard lock(callers_);  // the loader's threads may call too: one job at a time
    task_ = &task;
    for (int i = 0; i < running_; ++i) {
      shares_[i].next.store(count * i / running_, std::memory_order_relaxed);
      shares_[i].end = count * (i + 1) / running_;
    }
    busy_.store(running_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    take_tasks(0);
    for (int spin = 0; busy_.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins) {
        relax();
      } else if (const int busy = busy_.load(std::memory_order_acquire); busy != 0) {
        busy_.wait(busy, std::memory_order_acquire);
      }
    }
  }

 private:
  static constexpr int kSpins = 20000;  // some 100 us

  /// A thread's tasks of a job: neighbours, and the same ones of the next job over as many, so that what one kernel
  /// wrote is found by the next in the cache of the same core. Whoever is done takes what others have left.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  void take_tasks(int thread) {
    inside_task = true;
    for (int i = 0; i < running_; ++i) {
      Share& share = shares_[(thread + i) % running_];
      for (std::int64_t index; (index = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
        (*task_)(index, thread);
    }
    inside_task = false;
  }

  void stop() {
    stopping_ = true;
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void work(int thread) {
    for (std::uint32_t seen = 0;;) {
      for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
        if (spin < kSpins)
          relax();
        else
          generation_.wait(seen, std::memory_order_acquire);
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_) return;
      take_tasks(thread);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
    }
  }

  const int threads_;  ///< that work is split for
  const int running_;  ///< that work, the caller among them
  std::mutex callers_;
  const FunctionRef<void(std::int64_t, int)>* task_ = nullptr;
  const std::unique_ptr<Share[]> shares_;
  std::atomic<int> busy_{0};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

/// Of the pool that the first caller makes; 0: all cores.
std::atomic<int> first_threads{0};

std::unique_ptr<Pool>& pool() {
  static std::unique_ptr<Pool> instance =
      std::make_unique<Pool>(first_threads != 0 ? first_threads.load() : available_cores());
  return instance;
}

}  // namespace

void set_num_threads(int threads) {
  threads = std::max(1, threads);
  first_threads = threads;
  if (pool()->threads() != threads) pool() = std::make_unique<Pool>(threads);
}

int num_threads() { return pool()->threads(); }

void parallel_tasks(std::int64_t count, FunctionRef<void(std::int64_t index, int thread)> task) {
  if (inside_task || count <= 1 || num_threads() == 1) {
    for (std::int64_t index = 0; index < count; ++index) task(index, 0);
    return;
  }
  pool()->run(count, task);
}

void parallel_for(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t begin, std::int64_t end)> body) {
  if (n <= 0) return;
  // A few ranges a thread even out a core that is busy elsewhere.
  const std::int64_t ranges = std::clamp<std::int64_t>(n / std::max<std::int64_t>(1, grain), 1, 4 * num_threads());
  parallel_tasks(ranges, [&](std::int64_t range, int) { body(n * range / ranges, n * (range + 1) / ranges); });
}

}  // namespace retort
