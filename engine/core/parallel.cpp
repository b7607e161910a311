#include "engine/core/parallel.h"

#include <exception>
#include <mutex>

namespace retort {

void parallel_each(std::int64_t count, FunctionRef<void(std::int64_t index)> task) {
  std::mutex mutex;
  std::exception_ptr fault;
  std::int64_t at = count;
  parallel_tasks(count, [&](std::int64_t index, int) {
    try {
      task(index);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (index >= at) return;
      at = index;
      fault = std::current_exception();
    }
  });
  if (fault) std::rethrow_exception(fault);
}

}  // namespace retort
