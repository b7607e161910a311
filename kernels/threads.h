// The threads of the CPU: one pool for the process, and two loops over it.
//
// What a task computes must not depend on which thread runs it, and no sum is cut by num_threads(): then results do
// not depend on the number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace retort {

/// Number of threads that work is split for (>= 1); default: the cores this process may run on, and no more than these
/// are started. Not to be called while kernels run. Throws
/// std::runtime_error where the machine does not start so many.
void set_num_threads(int threads);
int num_threads();

/// A borrowed callable: no allocation, valid only during the call it is passed to.
template <class Signature>
class FunctionRef;

template <class... Args>
class FunctionRef<void(Args...)> {
 public:
  template <class Callable>  // constrained: neither copies nor moves come here
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload)
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef>) FunctionRef(Callable&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Args... args) { (*static_cast<std::remove_reference_t<Callable>*>(object))(args...); }) {
  }
  void operator()(Args... args) const { call_(object_, args...); }

 private:
  void* object_;
  void (*call_)(void*, Args...);
};

/// Runs task(index, thread) for every index in [0, count), handed out one by one to the threads, the caller among them,
/// each from a stretch of its own first; thread is in [0, num_threads()). Returns when all are done. Tasks must not
/// throw. A call from inside a task runs its tasks in place.
void parallel_tasks(std::int64_t count, FunctionRef<void(std::int64_t index, int thread)> task);

/// Splits [0, n) into contiguous ranges of at least `grain` elements and runs body(begin, end) on each.
void parallel_for(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

}  // namespace retort
