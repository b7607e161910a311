// Kernels broken on purpose. Each correct kernel must run clean under every order of threads; of its broken variants
// the simulator must catch nearly all: by stopping, or by a result that is wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/dev.h"
#include "kernels/simt/simulator.h"

namespace retort {
namespace {

constexpr int kThreads = 64;

// ------------------------------------------------------------------------------------------------------------ kernels

enum class Reduce {
  correct,
  no_barrier_after_load,
  no_barrier_in_loop,
  one_thread_too_many,
  barrier_in_branch,
  reads_past_the_end,
  returns_before_barrier,
  half_the_tree,
  barrier_count_differs
};

/// out[block] = the sum of kThreads elements of x[n].
template <Reduce kVariant>
__global__ void reduce(const float* x, int n, float* out) {
  struct Shared {
    float s[kThreads];
  };
  float(&s)[kThreads] = dev::shared<Shared>().s;
  const int t = static_cast<int>(threadIdx.x), i = static_cast<int>(blockIdx.x) * kThreads + t;
  if (kVariant == Reduce::returns_before_barrier && i >= n) return;
  s[t] = kVariant == Reduce::reads_past_the_end || i < n ? x[i] : 0;
  if (kVariant != Reduce::no_barrier_after_load) dev::syncthreads();
  const int last = kVariant == Reduce::half_the_tree ? 2 : 1;
  for (int stride = kThreads / 2; stride >= last; stride /= 2) {
    if (kVariant == Reduce::barrier_count_differs && t == 0 && stride == 1) break;
    if (kVariant == Reduce::one_thread_too_many ? t <= stride : t < stride) {
      s[t] += s[t + stride];
      if (kVariant == Reduce::barrier_in_branch) dev::syncthreads();
    }
    if (kVariant != Reduce::no_barrier_in_loop && kVariant != Reduce::barrier_in_branch) dev::syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}

enum class Transpose {
  correct,
  no_barrier,
  row_too_long,
  swapped_extents,
  misaligned_store,
  two_barriers_in_branches,
  shared_beyond_the_block
};

/// y [w, h] = the transpose of x [h, w], both multiples of 8, by 8 x 8 tiles.
template <Transpose kVariant>
__global__ void transpose(const float* x, int h, int w, float* y) {
  float* const tile = static_cast<float*>(dev::dynamic_shared());
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int x0 = static_cast<int>(blockIdx.x) * 8, y0 = static_cast<int>(blockIdx.y) * 8;
  const int pitch = kVariant == Transpose::shared_beyond_the_block ? 10 : 9;
  tile[row * pitch + column] = x[(y0 + row) * w + x0 + column + (kVariant == Transpose::row_too_long ? 8 : 0)];
  if (kVariant == Transpose::two_barriers_in_branches) {
    if (row < 4)
      dev::syncthreads();
    else
      dev::syncthreads();
  } else if (kVariant != Transpose::no_barrier) {
    dev::syncthreads();
  }
  const float value = tile[column * pitch + row];
  if (kVariant == Transpose::misaligned_store) {
    if (column == 0) dev::store(y + (x0 + row) * h + y0 + 1, dev::Vec<float, 4>{{value, value, value, value}});
  } else {
    y[(x0 + row) * (kVariant == Transpose::swapped_extents ? w : h) + y0 + column] = value;
  }
}

enum class Pipeline {
  correct,
  waits_for_too_few,
  no_barrier_after_wait,
  no_commit,
  refills_a_stage_in_use,
  reads_the_next_stage,
  copies_past_the_end,
  target_misaligned,
  no_wait_at_all
};

/// out[t] = the sum over tiles of 4 x[tile][reversed t], through three stages of asynchronous copies.
template <Pipeline kVariant>
__global__ void pipeline(const float* x, int tiles, int n, float* out) {
  constexpr int kStages = 3;
  struct Shared {
    alignas(16) float s[kStages][kThreads * 4 + 4];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      const int at = (tile * kThreads + t) * 4;
      const int valid = kVariant == Pipeline::copies_past_the_end ? 16 : std::clamp((n - at) * 4, 0, 16);
      const int shift = kVariant == Pipeline::target_misaligned ? 1 : 0;
      dev::copy_async<16>(&shared.s[tile % kStages][t * 4 + shift], valid > 0 ? x + at : x, valid);
    }
    if (kVariant != Pipeline::no_commit) dev::copy_commit();
  };
  for (int tile = 0; tile < kStages - 1; ++tile) fetch(tile);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    if (kVariant == Pipeline::waits_for_too_few)
      dev::copy_wait<kStages - 1>();
    else if (kVariant != Pipeline::no_wait_at_all)
      dev::copy_wait<kStages - 2>();
    if (kVariant != Pipeline::no_barrier_after_wait) dev::syncthreads();
    // The stage that was read a round ago: the barrier above says that all have done so.
    fetch(tile + (kVariant == Pipeline::refills_a_stage_in_use ? kStages : kStages - 1));
    const int stage = (tile + (kVariant == Pipeline::reads_the_next_stage ? 1 : 0)) % kStages;
    for (int i = 0; i < 4; ++i) sum += shared.s[stage][(kThreads - 1 - t) * 4 + i];
  }
  out[t] = sum;
}

enum class Warp {
  correct,
  half_mask,
  lane_left,
  shuffle_in_branch,
  source_outside_mask,
  no_syncwarp,
  too_few_steps,
  own_lane_missing
};

/// out[warp] = the sum of 32 elements, then exchanged through shared memory within the warp.
template <Warp kVariant>
__global__ void warp_sum(const float* x, float* out) {
  struct Shared {
    float s[kThreads];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  float value = x[blockIdx.x * kThreads + threadIdx.x];
  if (kVariant == Warp::lane_left && lane == 31) return;
  const unsigned mask = kVariant == Warp::half_mask || kVariant == Warp::source_outside_mask
                            ? (lane < 16 ? 0x0000FFFFu : 0xFFFF0000u)
                        : kVariant == Warp::own_lane_missing ? 0x7FFFFFFFu
                                                             : dev::kAllLanes;
  if (kVariant == Warp::source_outside_mask) value += dev::shfl_xor(mask, value, 16);
  for (int step = kVariant == Warp::half_mask || kVariant == Warp::too_few_steps ? 8 : 16; step >= 1; step /= 2) {
    if (kVariant == Warp::shuffle_in_branch) {
      if (lane < 16) value += dev::shfl_xor(mask, value, step);
    } else {
      value += dev::shfl_xor(mask, value, step);
    }
  }
  shared.s[t] = value + static_cast<float>(lane);
  if (kVariant != Warp::no_syncwarp) dev::syncwarp();
  out[blockIdx.x * kThreads + threadIdx.x] = shared.s[t ^ 1];
}

enum class Handover { correct, wrong_count, wrong_id, no_arrival, consumer_does_not_wait };

/// Warp 0 fills shared memory, warp 1 takes it: a barrier that the producer only arrives at.
template <Handover kVariant>
__global__ void handover(const float* x, float* out) {
  struct Shared {
    float s[32];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  const unsigned threads = kVariant == Handover::wrong_count ? 96 : 64;
  if (t < 32) {
    shared.s[t] = 2 * x[t];
    if (kVariant != Handover::no_arrival) dev::named_barrier_arrive(kVariant == Handover::wrong_id ? 2 : 1, threads);
  } else {
    if (kVariant != Handover::consumer_does_not_wait) dev::named_barrier(1, threads);
    out[t - 32] = shared.s[63 - t];
  }
}

enum class Histogram { correct, plain_increment, no_clearing, no_barrier_after_clearing, no_barrier_before_output };

/// out[bin] = how many of x[kThreads] equal bin, 8 bins.
template <Histogram kVariant>
__global__ void histogram(const int* x, int* out) {
  struct Shared {
    int bins[8];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  if (kVariant != Histogram::no_clearing && t < 8) shared.bins[t] = 0;
  if (kVariant != Histogram::no_barrier_after_clearing) dev::syncthreads();
  if (kVariant == Histogram::plain_increment)
    ++shared.bins[x[t]];
  else
    dev::atomic_add(&shared.bins[x[t]], 1);
  if (kVariant != Histogram::no_barrier_before_output) dev::syncthreads();
  if (t < 8) out[t] = shared.bins[t];
}

enum class Product { correct, fragment_rows_swapped, no_barrier, row_misaligned, b_not_transposed };

/// d [16, 8] = a [16, 16] b [16, 8] in bf16 on one warp, operands through shared memory.
template <Product kVariant>
__global__ void product(const BFloat16* a, const BFloat16* b, float* d) {
  struct Shared {
    alignas(16) BFloat16 a[16 * 16 + 8], b[16 * 16];
  };
  Shared& shared = dev::shared<Shared>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) shared.a[i] = a[i];
  for (int i = lane; i < 256; i += 32) shared.b[i] = i % 16 < 8 ? b[i / 16 * 8 + i % 16] : BFloat16(0);
  if (kVariant != Product::no_barrier) dev::syncwarp();
  std::uint32_t fa[4], fb[4];
  const int row = lane % 16, half = lane / 16 * 8;
  dev::ldmatrix_x4(fa, &shared.a[row * 16 + half + (kVariant == Product::row_misaligned ? 2 : 0)]);
  if (kVariant == Product::b_not_transposed)
    dev::ldmatrix_x4(fb, &shared.b[row * 16 + half]);
  else
    dev::ldmatrix_x4_trans(fb, &shared.b[row * 16 + half]);
  if (kVariant == Product::fragment_rows_swapped) std::swap(fa[1], fa[2]);
  float sum[4] = {0, 0, 0, 0};
  const std::uint32_t columns[2] = {fb[0], fb[1]};
  dev::mma_bf16(sum, fa, columns);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

/// Thread t takes what thread 63 - t wrote, with no barrier between.
__global__ void exchange(const float* x, float* out) {
  struct Pairs {
    float s[kThreads];
  };
  Pairs& pairs = dev::shared<Pairs>();
  const int t = static_cast<int>(threadIdx.x);
  pairs.s[t] = x[t];
  out[t] = pairs.s[kThreads - 1 - t];
}
constexpr int kExchangeReads = __LINE__ - 2, kExchangeWrites = __LINE__ - 3;

/// The upper threads skip the barrier, and read what nobody may have written.
__global__ void half_barrier(const float* x, float* out) {
  struct Lower {
    float s[kThreads / 2];
  };
  Lower& lower = dev::shared<Lower>();
  const int t = static_cast<int>(threadIdx.x);
  if (t < kThreads / 2) {
    lower.s[t] = x[t];
    dev::syncthreads();
  }
  float sum = 0;
  for (const float value : lower.s) sum += value;
  out[t] = sum;
}
constexpr int kHalfBarrierReads = __LINE__ - 3, kHalfBarrierWaits = __LINE__ - 6;

enum class Scale { correct, one_thread_too_many, vector_tail, order_dependent, host_pointer, freed_buffer, unwritten };

/// y[n] = 2 x[n].
template <Scale kVariant>
__global__ void scale(const float* x, int n, float* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (kVariant == Scale::vector_tail) {
    if (i * 4 < n) dev::store(y + i * 4, dev::load<dev::Vec<float, 4>>(x + i * 4));
    return;
  }
  if (kVariant == Scale::unwritten && i == n - 1) return;
  if (kVariant == Scale::one_thread_too_many ? i <= n : i < n) y[i] = 2 * x[i];
  if (kVariant == Scale::order_dependent && i < n) y[0] = static_cast<float>(i);
}

// -------------------------------------------------------------------------------------------------------- the harness

struct Release {
  void operator()(void* buffer) const { simt::release(buffer); }
};

/// A buffer of the simulator's with the elements of a vector.
template <class T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    std::memcpy(memory_.get(), values.data(), values.size() * sizeof(T));
  }
  explicit Buffer(std::size_t count) : memory_(simt::allocate(count * sizeof(T))), count_(count) {}
  T* get() const { return static_cast<T*>(memory_.get()); }
  std::vector<T> values() const { return {get(), get() + count_}; }
  void free() { memory_.reset(); }

 private:
  std::unique_ptr<void, Release> memory_;
  std::size_t count_;
};

std::vector<float> ramp(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i * 7 % 23) - 9;
  return values;
}

template <class T>
void expect(const std::vector<T>& found, const std::vector<T>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(found[i] == expected[i])) throw std::runtime_error("wrong result at " + std::to_string(i));
}

// Each runs one variant and throws where the simulator stops it or the result is wrong.

template <Reduce kVariant>
void run_reduce() {
  const std::vector<float> x = ramp(150);
  Buffer<float> in(x), out(3);
  dev::launch("reduce", reduce<kVariant>, {{3}, {kThreads}}, {}, in.get(), 150, out.get());
  std::vector<float> sums(3, 0.0f);
  for (std::size_t i = 0; i < x.size(); ++i) sums[i / kThreads] += x[i];
  expect(out.values(), sums);
}

template <Transpose kVariant>
void run_transpose() {
  const int h = 16, w = 24;
  const std::vector<float> x = ramp(h * w);
  Buffer<float> in(x), out(x.size());
  dev::launch("transpose", transpose<kVariant>, {{3, 2}, {8, 8}, 71 * sizeof(float)}, {}, in.get(), h, w, out.get());
  std::vector<float> y(x.size());
  for (int r = 0; r < h; ++r)
    for (int c = 0; c < w; ++c) y[std::size_t(c) * h + r] = x[std::size_t(r) * w + c];
  expect(out.values(), y);
}

template <Pipeline kVariant>
void run_pipeline() {
  const int tiles = 5, n = tiles * kThreads * 4 - 6;
  const std::vector<float> x = ramp(n);
  Buffer<float> in(x), out(kThreads);
  dev::launch("pipeline", pipeline<kVariant>, {{1}, {kThreads}}, {}, in.get(), tiles, n, out.get());
  std::vector<float> sums(kThreads, 0.0f);
  for (int tile = 0; tile < tiles; ++tile)
    for (int t = 0; t < kThreads; ++t)
      for (int i = 0; i < 4; ++i) {
        const int at = (tile * kThreads + kThreads - 1 - t) * 4 + i;
        if (at < n) sums[static_cast<std::size_t>(t)] += x[static_cast<std::size_t>(at)];
      }
  expect(out.values(), sums);
}

template <Warp kVariant>
void run_warp() {
  const std::vector<float> x = ramp(2 * kThreads);
  Buffer<float> in(x), out(x.size());
  dev::launch("warp_sum", warp_sum<kVariant>, {{2}, {kThreads}}, {}, in.get(), out.get());
  std::vector<float> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    float sum = 0;
    for (std::size_t j = 0; j < 32; ++j) sum += x[i / 32 * 32 + j];
    y[i] = sum + static_cast<float>((i ^ 1) % 32);
  }
  expect(out.values(), y);
}

template <Handover kVariant>
void run_handover() {
  const std::vector<float> x = ramp(32);
  Buffer<float> in(x), out(32);
  dev::launch("handover", handover<kVariant>, {{1}, {64}}, {}, in.get(), out.get());
  std::vector<float> y(32);
  for (std::size_t i = 0; i < 32; ++i) y[i] = 2 * x[31 - i];
  expect(out.values(), y);
}

template <Histogram kVariant>
void run_histogram() {
  std::vector<int> x(kThreads), counts(8, 0);
  for (std::size_t i = 0; i < x.size(); ++i) ++counts[static_cast<std::size_t>(x[i] = static_cast<int>(i * i % 8))];
  Buffer<int> in(x), out(8);
  dev::launch("histogram", histogram<kVariant>, {{1}, {kThreads}}, {}, in.get(), out.get());
  expect(out.values(), counts);
}

template <Product kVariant>
void run_product() {
  std::vector<BFloat16> a(256), b(128);
  std::vector<float> d(128, 0.0f);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = BFloat16(static_cast<float>(i * 5 % 13) - 6);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = BFloat16(static_cast<float>(i * 3 % 11) - 5);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j)
      for (std::size_t k = 0; k < 16; ++k) d[i * 8 + j] += a[i * 16 + k] * b[k * 8 + j];
  Buffer<BFloat16> left(a), right(b);
  Buffer<float> out(128);
  dev::launch("product", product<kVariant>, {{1}, {32}}, {}, left.get(), right.get(), out.get());
  expect(out.values(), d);
}

template <Scale kVariant>
void run_scale() {
  std::vector<float> x = ramp(130);
  Buffer<float> in(x), out(x.size());
  const float* source = kVariant == Scale::host_pointer ? x.data() : in.get();
  if (kVariant == Scale::freed_buffer) in.free();
  dev::launch("scale", scale<kVariant>, {{3}, {64}}, {}, source, 130, out.get());
  for (float& value : x) value *= 2;
  expect(out.values(), x);
}

void run_pairs(const char* name, void (*kernel)(const float*, float*)) {
  Buffer<float> in(ramp(kThreads)), out(kThreads);
  dev::launch(name, kernel, {{1}, {kThreads}}, {}, in.get(), out.get());
}

struct Defect {
  const char* name;
  std::function<void()> run;
};

std::string outcome(const std::function<void()>& run) {
  try {
    run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

constexpr std::uint64_t kSeeds = 4;

}  // namespace

TEST_CASE("simt: correct kernels run clean under every order of threads") {
  const Defect correct[] = {
      {"reduce", run_reduce<Reduce::correct>},       {"transpose", run_transpose<Transpose::correct>},
      {"pipeline", run_pipeline<Pipeline::correct>}, {"warp_sum", run_warp<Warp::correct>},
      {"handover", run_handover<Handover::correct>}, {"histogram", run_histogram<Histogram::correct>},
      {"product", run_product<Product::correct>},    {"scale", run_scale<Scale::correct>}};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    simt::set_seed(seed);
    for (const Defect& kernel : correct) {
      CAPTURE(std::string(kernel.name));
      CAPTURE(seed);
      CHECK(outcome(kernel.run) == "");
    }
  }
  simt::set_seed(1);
}

TEST_CASE("simt: every broken kernel is caught") {
#define VARIANT(kernel, family, name) \
  { #family "::" #name, run_##kernel < family::name> }
  const std::vector<Defect> defects = {
      VARIANT(reduce, Reduce, no_barrier_after_load),
      VARIANT(reduce, Reduce, no_barrier_in_loop),
      VARIANT(reduce, Reduce, one_thread_too_many),
      VARIANT(reduce, Reduce, barrier_in_branch),
      VARIANT(reduce, Reduce, reads_past_the_end),
      VARIANT(reduce, Reduce, returns_before_barrier),
      VARIANT(reduce, Reduce, half_the_tree),
      VARIANT(reduce, Reduce, barrier_count_differs),
      VARIANT(transpose, Transpose, no_barrier),
      VARIANT(transpose, Transpose, row_too_long),
      VARIANT(transpose, Transpose, swapped_extents),
      VARIANT(transpose, Transpose, misaligned_store),
      VARIANT(transpose, Transpose, two_barriers_in_branches),
      VARIANT(transpose, Transpose, shared_beyond_the_block),
      VARIANT(pipeline, Pipeline, waits_for_too_few),
      VARIANT(pipeline, Pipeline, no_barrier_after_wait),
      VARIANT(pipeline, Pipeline, no_commit),
      VARIANT(pipeline, Pipeline, refills_a_stage_in_use),
      VARIANT(pipeline, Pipeline, reads_the_next_stage),
      VARIANT(pipeline, Pipeline, copies_past_the_end),
      VARIANT(pipeline, Pipeline, target_misaligned),
      VARIANT(pipeline, Pipeline, no_wait_at_all),
      VARIANT(warp, Warp, half_mask),
      VARIANT(warp, Warp, lane_left),
      VARIANT(warp, Warp, shuffle_in_branch),
      VARIANT(warp, Warp, source_outside_mask),
      VARIANT(warp, Warp, no_syncwarp),
      VARIANT(warp, Warp, too_few_steps),
      VARIANT(warp, Warp, own_lane_missing),
      VARIANT(handover, Handover, wrong_count),
      VARIANT(handover, Handover, wrong_id),
      VARIANT(handover, Handover, no_arrival),
      VARIANT(handover, Handover, consumer_does_not_wait),
      VARIANT(histogram, Histogram, plain_increment),
      VARIANT(histogram, Histogram, no_clearing),
      VARIANT(histogram, Histogram, no_barrier_after_clearing),
      VARIANT(histogram, Histogram, no_barrier_before_output),
      VARIANT(product, Product, fragment_rows_swapped),
      VARIANT(product, Product, no_barrier),
      VARIANT(product, Product, row_misaligned),
      VARIANT(product, Product, b_not_transposed),
      VARIANT(scale, Scale, one_thread_too_many),
      VARIANT(scale, Scale, vector_tail),
      VARIANT(scale, Scale, order_dependent),
      VARIANT(scale, Scale, host_pointer),
      VARIANT(scale, Scale, freed_buffer),
      VARIANT(scale, Scale, unwritten),
  };
#undef VARIANT
  std::size_t caught = 0;
  for (const Defect& defect : defects) {
    std::string found;
    for (std::uint64_t seed = 1; seed <= kSeeds && found.empty(); ++seed) {
      simt::set_seed(seed);
      found = outcome(defect.run);
    }
    caught += !found.empty();
    MESSAGE(std::string(defect.name), ": ", found.empty() ? "NOT CAUGHT" : found);
  }
  simt::set_seed(1);
  CHECK(defects.size() >= 20);
  CHECK(caught == defects.size());
}

TEST_CASE("simt: a stop names kernel, block, thread and barrier") {
  const std::string race = outcome(run_reduce<Reduce::no_barrier_in_loop>);
  CHECK(race.find("reduce, block (") == 0);
  CHECK(race.find("thread (") != std::string::npos);
  CHECK(race.find("race; its last barrier: defects_test.cpp:") != std::string::npos);
  CHECK(outcome(run_reduce<Reduce::barrier_in_branch>).find("divergent barrier") != std::string::npos);
  CHECK(outcome(run_transpose<Transpose::two_barriers_in_branches>).find("while others wait at __syncthreads") !=
        std::string::npos);
  CHECK(outcome(run_handover<Handover::no_arrival>)
            .find("deadlock; threads 0 to 31 have returned, threads 32 to 63 "
                  "wait at named barrier defects_test.cpp:") != std::string::npos);
  CHECK(outcome(run_scale<Scale::one_thread_too_many>).find("0 bytes past the end of a buffer of 520 bytes") !=
        std::string::npos);
  CHECK(outcome(run_warp<Warp::lane_left>).find("lane") != std::string::npos);
}

TEST_CASE("simt: a race names both accesses: threads, lines and the array") {
  if (std::system("addr2line --version > /dev/null 2>&1") != 0) {
    MESSAGE("not tested: addr2line, which tells the lines, is not installed");
    return;
  }
  const std::string race = outcome([] { run_pairs("exchange", exchange); });
  CAPTURE(race);
  // Whoever comes later is named first: who reads what was written, or writes what was read.
  int self = 0, byte = 0, here = 0, other = 0, there = 0;
  char verb[16] = {}, before[16] = {};
  REQUIRE(std::sscanf(race.c_str(),
                      "exchange, block (0,0,0), thread (%d,0,0): %15s Pairs, shared memory, at byte %d at "
                      "defects_test.cpp:%d, which thread (%d,0,0) %15s at defects_test.cpp:%d with no barrier between",
                      &self, verb, &byte, &here, &other, before, &there) == 7);
  const bool reads = std::string(verb) == "reads";
  CHECK(std::string(verb) == (reads ? "reads" : "writes"));
  CHECK(std::string(before) == (reads ? "wrote" : "read"));
  CHECK(here == (reads ? kExchangeReads : kExchangeWrites));
  CHECK(there == (reads ? kExchangeWrites : kExchangeReads));
  CHECK(self + other == kThreads - 1);
  CHECK(byte == 4 * (reads ? other : self));
  CHECK(race.find(" with no barrier between: race; its last barrier: none") != std::string::npos);
  CHECK(outcome(run_transpose<Transpose::no_barrier>).find("dynamic shared memory at byte ") != std::string::npos);
  CHECK(outcome(run_pipeline<Pipeline::waits_for_too_few>)
            .find("while an asynchronous copy into it at defects_test.cpp:") != std::string::npos);
}

TEST_CASE("simt: threads that miss a barrier are called that, not a race, under every order of threads") {
  int races = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    simt::set_seed(seed);
    const std::string stop = outcome([] { run_pairs("half_barrier", half_barrier); });
    CAPTURE(stop);
    CHECK(stop.find("half_barrier, block (0,0,0), thread (") == 0);
    CHECK(stop.find("__syncthreads defects_test.cpp:" + std::to_string(kHalfBarrierWaits)) != std::string::npos);
    CHECK(stop.find(": divergent barrier") != std::string::npos);
    CHECK(stop.find(": race") == std::string::npos);
    // Where a race was seen before, it is told as what comes of it.
    const std::size_t also = stop.find(", and so thread (");
    if (also == std::string::npos) continue;
    ++races;
    CHECK(stop.find("defects_test.cpp:" + std::to_string(kHalfBarrierReads), also) != std::string::npos);
  }
  CHECK(races > 0);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    simt::set_seed(seed);
    CHECK(outcome(run_reduce<Reduce::barrier_in_branch>).find("divergent barrier") != std::string::npos);
    CHECK(outcome(run_reduce<Reduce::barrier_count_differs>).find("divergent barrier") != std::string::npos);
    CHECK(outcome(run_reduce<Reduce::returns_before_barrier>).find("divergent barrier") != std::string::npos);
  }
  simt::set_seed(1);
}

TEST_CASE("simt: a geometry that no GPU takes is refused") {
  const auto launch = [](simt::Dim3 grid, simt::Dim3 block, std::size_t shared) {
    return outcome([&] { simt::launch("none", grid, block, shared, [] {}); });
  };
  CHECK(launch({1}, {1}, 0) == "");
  CHECK(launch({1}, {1025}, 0).find("none: no GPU launches this") == 0);
  CHECK(launch({0}, {1}, 0).find("none: no GPU launches this") == 0);
  CHECK(launch({1, 65536}, {1}, 0).find("none: no GPU launches this") == 0);
  CHECK(launch({1}, {1}, simt::kSharedBytes + 1).find("none: no GPU launches this") == 0);
}

}  // namespace retort
