// What the simulator's barriers, warp operations, atomics, copies and tensor cores compute, against CUDA's definitions.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/dev.h"
#include "kernels/simt/simulator.h"

namespace retort {
namespace {

/// Runs a kernel over one buffer of ints on blocks of `threads`; returns the buffer.
std::vector<int> run(const char* name, void (*kernel)(int*), unsigned threads, std::size_t count,
                     simt::Dim3 grid = {}) {
  int* const out = static_cast<int*>(simt::allocate(count * sizeof(int)));
  std::fill(out, out + count, 0);
  std::vector<int> result;
  try {
    dev::launch(name, kernel, {grid, {threads}}, {}, out);
    result.assign(out, out + count);
  } catch (...) {
    simt::release(out);
    throw;
  }
  simt::release(out);
  return result;
}

__global__ void barriers(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int all = dev::syncthreads_and(t < 40), none = dev::syncthreads_and(t >= 0);
  const int any = dev::syncthreads_or(t == 17), nobody = dev::syncthreads_or(t > 100);
  const int count = dev::syncthreads_count(t % 3 == 0);
  out[t] = (all ? 1 : 0) + (none ? 2 : 0) + (any ? 4 : 0) + (nobody ? 8 : 0) + 16 * count;
}

__global__ void shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = 100 + lane;
  int* const mine = out + lane * 8;
  mine[0] = dev::shfl(dev::kAllLanes, value, 5);
  mine[1] = dev::shfl(dev::kAllLanes, value, lane + 1);  // lanes count modulo 32
  mine[2] = dev::shfl_up(dev::kAllLanes, value, 3);
  mine[3] = dev::shfl_down(dev::kAllLanes, value, 3);
  mine[4] = dev::shfl_xor(dev::kAllLanes, value, 9);
  mine[5] = static_cast<int>(dev::ballot(dev::kAllLanes, lane % 2 == 1));
  mine[6] = (dev::any(dev::kAllLanes, lane == 31) ? 1 : 0) + (dev::all(dev::kAllLanes, lane < 31) ? 2 : 0);
  mine[7] = static_cast<int>(dev::reduce_add(dev::kAllLanes, static_cast<std::uint32_t>(lane)));
}

__global__ void half_warps(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  // The two halves go their own ways and meet only among themselves.
  if (lane < 16)
    out[lane] = static_cast<int>(dev::reduce_add(0x0000FFFFu, 1));
  else
    out[lane] = dev::shfl(0xFFFF0000u, lane, 20);
}

__global__ void atomics(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  dev::atomic_add(&out[0], 1);
  dev::atomic_max(&out[1], t);
  dev::atomic_or(&out[2], 1 << (t % 8));
  struct Shared {
    float sum;
  };
  Shared& shared = dev::shared<Shared>();
  if (t == 0) shared.sum = 0;
  dev::syncthreads();
  dev::atomic_add(&shared.sum, 0.5f);
  dev::syncthreads();
  if (t == 0) out[3 + blockIdx.x] = static_cast<int>(shared.sum);
}

__global__ void indices(int* out) {
  const int block = static_cast<int>(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  out[block * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)] =
      block * 1000 + static_cast<int>(threadIdx.x);
}

__global__ void partial_copies(int* out) {
  struct Shared {
    alignas(16) int words[3][4];
  };
  Shared& shared = dev::shared<Shared>();
  dev::copy_async<16>(shared.words[0], out + 4, 12);  // the rest is zero
  dev::copy_commit();
  dev::copy_async<8>(shared.words[1], out + 8);
  dev::copy_async<4>(shared.words[2], out + 12, 0);
  dev::copy_commit();
  dev::copy_wait<1>();
  for (int i = 0; i < 4; ++i) out[16 + i] = shared.words[0][i];
  dev::copy_wait<0>();
  out[20] = shared.words[1][0] + shared.words[1][1];
  out[21] = shared.words[2][0];
}

/// d [16, 8] = a [16, k] b [k, 8], operands given as floats in fragments made by `pack`.
__global__ void products(const float* a, const float* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, t = lane % 4;
  std::uint32_t fa[4], fb[2];
  for (int i = 0; i < 4; ++i) fa[i] = dev::to_tf32(a[(group + i % 2 * 8) * 8 + t + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) fb[i] = dev::to_tf32(b[(t + i * 4) * 8 + group]);
  float sum[4] = {1, 1, 1, 1};
  dev::mma_tf32(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

/// f16 bits of small integers.
std::uint32_t half_bits(int value) {
  if (value == 0) return 0;
  int exponent = 0;
  for (int magnitude = std::abs(value); magnitude >> (exponent + 1); ++exponent) {
  }
  const int mantissa = (std::abs(value) << (10 - exponent)) & 1023;
  return static_cast<std::uint32_t>((value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | mantissa);
}

/// As products, k = 16, in f16: the fragments come packed.
__global__ void half_products(const std::uint32_t* a, const std::uint32_t* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, t = lane % 4;
  std::uint32_t fa[4], fb[2];
  const auto pair = [](std::uint32_t low, std::uint32_t high) { return low | high << 16; };
  for (int i = 0; i < 4; ++i) {
    const int row = group + i % 2 * 8, k = t * 2 + i / 2 * 8;
    fa[i] = pair(a[row * 16 + k], a[row * 16 + k + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const int k = t * 2 + i * 8;
    fb[i] = pair(b[k * 8 + group], b[(k + 1) * 8 + group]);
  }
  float sum[4] = {0, 0, 0, 0};
  dev::mma_f16(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

template <class T>
T* on_simulator(const std::vector<T>& values) {
  T* const memory = static_cast<T*>(simt::allocate(values.size() * sizeof(T)));
  std::copy(values.begin(), values.end(), memory);
  return memory;
}

}  // namespace

TEST_CASE("simt: barriers reduce a predicate over the block") {
  for (const int value : run("barriers", barriers, 64, 64)) CHECK(value == 2 + 4 + 16 * 22);
}

TEST_CASE("simt: shuffles, votes and sums over a warp") {
  const std::vector<int> out = run("shuffles", shuffles, 32, 32 * 8);
  for (int lane = 0; lane < 32; ++lane) {
    const int* mine = &out[static_cast<std::size_t>(lane) * 8];
    CHECK(mine[0] == 105);
    CHECK(mine[1] == 100 + (lane + 1) % 32);
    CHECK(mine[2] == 100 + (lane < 3 ? lane : lane - 3));
    CHECK(mine[3] == 100 + (lane > 28 ? lane : lane + 3));
    CHECK(mine[4] == 100 + (lane ^ 9));
    CHECK(mine[5] == static_cast<int>(0xAAAAAAAAu));
    CHECK(mine[6] == 1);
    CHECK(mine[7] == 31 * 16);
  }
  const std::vector<int> halves = run("half_warps", half_warps, 32, 32);
  for (int lane = 0; lane < 32; ++lane) CHECK(halves[static_cast<std::size_t>(lane)] == (lane < 16 ? 16 : 20));
}

TEST_CASE("simt: atomics on global and shared memory, over blocks") {
  const std::vector<int> out = run("atomics", atomics, 96, 8, {5});
  CHECK(out == std::vector<int>{5 * 96, 95, 255, 48, 48, 48, 48, 48});
}

TEST_CASE("simt: every block and thread runs once, in any order") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    simt::set_seed(seed);
    const std::vector<int> out = run("indices", indices, 7, 2 * 3 * 4 * 7, {2, 3, 4});
    for (std::size_t i = 0; i < out.size(); ++i) CHECK(out[i] == static_cast<int>(i / 7 * 1000 + i % 7));
  }
  simt::set_seed(1);
}

TEST_CASE("simt: asynchronous copies fill with zeros and land in groups") {
  int* const memory =
      on_simulator<int>({0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, -1, -1, -1, -1, -1, -1, -1, -1});
  dev::launch("partial_copies", partial_copies, {{1}, {1}}, {}, memory);
  CHECK(std::vector<int>(memory + 16, memory + 22) == std::vector<int>{1, 2, 3, 0, 11, 0});
  simt::release(memory);
}

TEST_CASE("simt: tensor cores in tf32 and f16") {
  std::vector<float> a(16 * 8), b(8 * 8);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7 % 19) - 9;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 5 % 17) - 8;
  a[0] = 1 + 1.0f / 4096;  // beyond tf32's 10 bits: becomes 1
  float *const left = on_simulator(a), *const right = on_simulator(b),
               *const out = on_simulator(std::vector<float>(128));
  dev::launch("products", products, {{1}, {32}}, {}, left, right, out);
  a[0] = 1;
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      float sum = 1;
      for (std::size_t k = 0; k < 8; ++k) sum += a[i * 8 + k] * b[k * 8 + j];
      CHECK(out[i * 8 + j] == sum);
    }
  std::vector<std::uint32_t> ha(16 * 16), hb(16 * 8);
  std::vector<int> wa(ha.size()), wb(hb.size());
  for (std::size_t i = 0; i < ha.size(); ++i) ha[i] = half_bits(wa[i] = static_cast<int>(i * 7 % 41) - 20);
  for (std::size_t i = 0; i < hb.size(); ++i) hb[i] = half_bits(wb[i] = static_cast<int>(i * 5 % 23) - 11);
  std::uint32_t *const hl = on_simulator(ha), *const hr = on_simulator(hb);
  dev::launch("half_products", half_products, {{1}, {32}}, {}, hl, hr, out);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      int sum = 0;
      for (std::size_t k = 0; k < 16; ++k) sum += wa[i * 16 + k] * wb[k * 8 + j];
      CHECK(out[i * 8 + j] == static_cast<float>(sum));
    }
  for (void* memory : {static_cast<void*>(left), static_cast<void*>(right), static_cast<void*>(out),
                       static_cast<void*>(hl), static_cast<void*>(hr)})
    simt::release(memory);
}

}  // namespace retort
