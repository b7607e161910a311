// kernels/cuda/dev.h for the host: every name a kernel uses, as a call to the simulator. Include dev.h, not this.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "kernels/simt/simulator.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's own words
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// NOLINTEND(bugprone-reserved-identifier)
#define threadIdx (::retort::simt::thread_index())
#define blockIdx (::retort::simt::block_index())
#define blockDim (::retort::simt::block_dim())
#define gridDim (::retort::simt::grid_dim())

// For host code, and for wrappers that check their own accesses: the compiler must not announce those. GCC inlines
// before it instruments, so they must stay functions of their own.
#define RETORT_UNSEEN __attribute__((no_sanitize("thread"), noinline))

namespace retort::simt {

// What a running kernel asks of the simulator (device_calls.cpp).
Dim3 thread_index();
Dim3 block_index();
Dim3 block_dim();
Dim3 grid_dim();
/// `from`: a return address in the kernel's code, which says where the access is made.
void touch_read(const void* address, std::size_t bytes, const void* from);
void touch_write(const void* address, std::size_t bytes, const void* from);
int atomic_add(int* address, int value);
float atomic_add(float* address, float value);
int atomic_or(int* address, int value);
int atomic_max(int* address, int value);
void* dynamic_shared();
/// `type`: a text that ends with the type's name in brackets.
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* type);
int syncthreads(int op, int predicate, const char* file, int line);
void named_barrier(unsigned id, unsigned threads, bool wait, const char* file, int line);
void syncwarp(std::uint32_t mask, const char* file, int line);
enum class Shuffle : std::uint8_t { index, up, down, exclusive_or };
std::uint32_t shuffle(Shuffle kind, std::uint32_t mask, std::uint32_t value, int argument, const char* file, int line);
std::uint32_t ballot(std::uint32_t mask, bool predicate, const char* file, int line);
std::uint32_t reduce_add(std::uint32_t mask, std::uint32_t value, const char* file, int line);
void copy_async(void* target, const void* source, std::size_t bytes, std::size_t valid, const void* from);
void copy_commit();
void copy_wait(std::size_t pending);
void ldmatrix_x4(std::uint32_t* registers, const void* row, bool transposed, const void* from, const char* file,
                 int line);
enum class MmaType : std::uint8_t { bf16, f16, tf32 };
void mma(MmaType type, float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line);
void yield();

}  // namespace retort::simt

// Inline, so that these and the device's of the same name are different functions to the linker.
namespace retort::dev {
inline namespace simulated {

using Dim3 = simt::Dim3;

struct LaunchShape {
  Dim3 grid, block;
  std::size_t shared_bytes = 0;
};

/// What one thread of a launch runs.
template <class... Parameters>
struct ThreadBody {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;
  RETORT_UNSEEN void operator()() const { run(std::index_sequence_for<Parameters...>()); }

 private:
  template <std::size_t... kIndex>
  RETORT_UNSEEN void run(std::index_sequence<kIndex...>) const {
    kernel(std::get<kIndex>(arguments)...);
  }
};

/// Runs the kernel in the simulator; throws simt::Error where it breaks a rule.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, Stream,
            const Arguments&... arguments) {
  const ThreadBody<Parameters...> body{kernel, {static_cast<Parameters>(arguments)...}};
  if (simt::capturing())
    simt::keep([=] { simt::launch(name, shape.grid, shape.block, shape.shared_bytes, body); });
  else
    simt::launch(name, shape.grid, shape.block, shape.shared_bytes, body);
}

template <class T>
inline constexpr char shared_key = 0;
template <class T>
T& shared() {
  return *static_cast<T*>(simt::static_shared(&shared_key<T>, sizeof(T), alignof(T), __PRETTY_FUNCTION__));
}
inline void* dynamic_shared() { return simt::dynamic_shared(); }

#define RETORT_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void syncthreads(RETORT_WHERE) { simt::syncthreads(0, 0, file, line); }
inline int syncthreads_and(int predicate, RETORT_WHERE) { return simt::syncthreads(1, predicate, file, line); }
inline int syncthreads_or(int predicate, RETORT_WHERE) { return simt::syncthreads(2, predicate, file, line); }
inline int syncthreads_count(int predicate, RETORT_WHERE) { return simt::syncthreads(3, predicate, file, line); }
inline void named_barrier(unsigned id, unsigned threads, RETORT_WHERE) {
  simt::named_barrier(id, threads, true, file, line);
}
inline void named_barrier_arrive(unsigned id, unsigned threads, RETORT_WHERE) {
  simt::named_barrier(id, threads, false, file, line);
}
inline void syncwarp(std::uint32_t mask = kAllLanes, RETORT_WHERE) { simt::syncwarp(mask, file, line); }

template <class T>
RETORT_UNSEEN T shuffled(simt::Shuffle kind, std::uint32_t mask, T value, int argument, const char* file, int line) {
  static_assert(sizeof(T) == 4);
  std::uint32_t word;
  std::memcpy(&word, &value, 4);
  word = simt::shuffle(kind, mask, word, argument, file, line);
  std::memcpy(&value, &word, 4);
  return value;
}
template <class T>
T shfl(std::uint32_t mask, T value, int lane, RETORT_WHERE) {
  return shuffled(simt::Shuffle::index, mask, value, lane, file, line);
}
template <class T>
T shfl_up(std::uint32_t mask, T value, int delta, RETORT_WHERE) {
  return shuffled(simt::Shuffle::up, mask, value, delta, file, line);
}
template <class T>
T shfl_down(std::uint32_t mask, T value, int delta, RETORT_WHERE) {
  return shuffled(simt::Shuffle::down, mask, value, delta, file, line);
}
template <class T>
T shfl_xor(std::uint32_t mask, T value, int lane_mask, RETORT_WHERE) {
  return shuffled(simt::Shuffle::exclusive_or, mask, value, lane_mask, file, line);
}
inline std::uint32_t ballot(std::uint32_t mask, bool predicate, RETORT_WHERE) {
  return simt::ballot(mask, predicate, file, line);
}
inline bool any(std::uint32_t mask, bool predicate, RETORT_WHERE) {
  return simt::ballot(mask, predicate, file, line) != 0;
}
inline bool all(std::uint32_t mask, bool predicate, RETORT_WHERE) {
  return simt::ballot(mask, predicate, file, line) == mask;
}
inline std::uint32_t reduce_add(std::uint32_t mask, std::uint32_t value, RETORT_WHERE) {
  return simt::reduce_add(mask, value, file, line);
}

template <class V>
RETORT_UNSEEN V load(const void* address) {
  simt::touch_read(address, sizeof(V), __builtin_return_address(0));
  V value;
  std::memcpy(&value, address, sizeof(V));
  return value;
}
template <class V>
RETORT_UNSEEN void store(void* address, const V& value) {
  simt::touch_write(address, sizeof(V), __builtin_return_address(0));
  std::memcpy(address, &value, sizeof(V));
}

template <class V>
void store_shared(void* address, const V& value) {
  store(address, value);
}

inline float fast_exp(float x) { return expf(x); }
inline float fast_exp2(float x) { return exp2f(x); }
inline float reciprocal(float x) { return 1 / x; }
inline float square_root(float x) { return sqrtf(x); }

using simt::atomic_add;
using simt::atomic_max;
using simt::atomic_or;

template <int kBytes>
RETORT_UNSEEN void copy_async(void* shared, const void* global, int valid = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  simt::copy_async(shared, global, kBytes, static_cast<std::size_t>(valid), __builtin_return_address(0));
}
inline void copy_commit() { simt::copy_commit(); }
template <int kPending>
void copy_wait() {
  simt::copy_wait(kPending);
}

RETORT_UNSEEN inline void ldmatrix_x4(std::uint32_t (&registers)[4], const void* row, RETORT_WHERE) {
  simt::ldmatrix_x4(registers, row, false, __builtin_return_address(0), file, line);
}
RETORT_UNSEEN inline void ldmatrix_x4_trans(std::uint32_t (&registers)[4], const void* row, RETORT_WHERE) {
  simt::ldmatrix_x4(registers, row, true, __builtin_return_address(0), file, line);
}
inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], RETORT_WHERE) {
  simt::mma(simt::MmaType::bf16, d, a, b, file, line);
}
inline void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], RETORT_WHERE) {
  simt::mma(simt::MmaType::f16, d, a, b, file, line);
}
inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], RETORT_WHERE) {
  simt::mma(simt::MmaType::tf32, d, a, b, file, line);
}
/// A float's bits rounded to tf32: 10 bits of mantissa, to nearest, ties away from zero.
RETORT_UNSEEN inline std::uint32_t to_tf32(float value) {
  std::uint32_t word;
  std::memcpy(&word, &value, 4);
  return (word & 0x7F800000u) == 0x7F800000u ? word : (word + 0x1000u) & 0xFFFFE000u;
}
/// Two floats rounded to bf16 in one word, `low` in the lower half.
RETORT_UNSEEN inline std::uint32_t pack_bf16(float low, float high) {
  return BFloat16(low).bits | static_cast<std::uint32_t>(BFloat16(high).bits) << 16;
}
inline float max_nan(float a, float b) {
  if (a != a || b != b) return a != a ? a : b;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
RETORT_UNSEEN inline std::uint32_t max_bf16(std::uint32_t a, std::uint32_t b) {
  const auto half = [](std::uint32_t word, int shift) {
    return float(std::bit_cast<BFloat16>(static_cast<std::uint16_t>(word >> shift)));
  };
  return pack_bf16(max_nan(half(a, 0), half(b, 0)), max_nan(half(a, 16), half(b, 16)));
}

#undef RETORT_WHERE

}  // namespace simulated
}  // namespace retort::dev
