// The simulator's counters on kernels small enough to count by hand.
#include <doctest/doctest.h>

#include "kernels/cuda/dev.h"
#include "kernels/simt/modelled_time.h"
#include "tests/counters/counted.h"

namespace retort {
namespace {

using simt::Counts;
using simt::Requests;
using simt::Wavefronts;

struct Words {
  alignas(128) float w[32 * 32];
};
template <int kN>
using Vec = dev::Vec<float, kN>;

/// Memory for the kernels, 64 KiB of zeros.
class Buffer {
 public:
  Buffer() : data_(static_cast<float*>(simt::allocate(kBytes))) { std::fill(data_, data_ + kBytes / 4, 0.0f); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { simt::release(data_); }
  float* get() const { return data_; }

 private:
  static constexpr std::size_t kBytes = 65536;
  float* data_;
};

/// One launch of a kernel of (x, y), under several orders of threads: they count the same.
Counts count(void (*kernel)(const float*, float*), unsigned threads = 32, unsigned blocks = 1) {
  const Buffer x, y;
  Counts first;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    simt::set_seed(seed);
    const auto kernels = test::counted([&] {
      dev::launch("tiny", kernel, {{blocks}, {threads}}, {}, static_cast<const float*>(x.get()), y.get());
    });
    REQUIRE(kernels.size() == 1);
    CHECK(kernels[0].kernel == "tiny");
    CHECK(kernels[0].launches == 1);
    if (seed == 1) first = kernels[0].counts;
    CHECK(kernels[0].counts == first);
  }
  simt::set_seed(1);
  return first;
}

__device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }

// ------------------------------------------------------------------------------------------------------ global memory

template <int kStride, int kShift>
__global__ void strided(const float* x, float* y) {
  y[threadIdx.x] = x[static_cast<int>(threadIdx.x) * kStride + kShift];
}

TEST_CASE("counters: requests of global memory") {
  const Requests one = {.requests = 1, .lanes = 32, .sectors = 4, .lines = 1, .bytes = 128};
  SUBCASE("neighbours: 128 bytes are 4 sectors") {
    const Counts c = count(strided<1, 0>);
    CHECK(c.load == one);
    CHECK(c.store == one);
    CHECK(c.unique_load_sectors == 4);
    CHECK(c.unique_store_sectors == 4);
    CHECK(c.active_lanes() == 32);
  }
  SUBCASE("every other: twice the sectors") {
    CHECK(count(strided<2, 0>).load == Requests{.requests = 1, .lanes = 32, .sectors = 8, .lines = 2, .bytes = 128});
  }
  SUBCASE("one element further: a sector and a line more") {
    CHECK(count(strided<1, 1>).load == Requests{.requests = 1, .lanes = 32, .sectors = 5, .lines = 2, .bytes = 128});
  }
  SUBCASE("128 bytes apart: a sector and a line a lane") {
    CHECK(count(strided<32, 0>).load == Requests{.requests = 1, .lanes = 32, .sectors = 32, .lines = 32, .bytes = 128});
  }
  SUBCASE("all the same: one sector") {
    CHECK(count(strided<0, 3>).load == Requests{.requests = 1, .lanes = 32, .sectors = 1, .lines = 1, .bytes = 128});
  }
  SUBCASE("a block of 48 threads: half a warp is a request too") {
    CHECK(count(strided<1, 0>, 48).load ==
          Requests{.requests = 2, .lanes = 48, .sectors = 6, .lines = 2, .bytes = 192});
  }
  SUBCASE("two blocks that read the same: distinct in the launch once, in blocks twice") {
    const Counts c = count(strided<1, 0>, 32, 2);
    CHECK(c.load.sectors == 8);
    CHECK(c.unique_load_sectors == 4);
    CHECK(c.block_load_sectors == 8);
  }
}

template <int kN>
__global__ void wide(const float* x, float* y) {
  dev::store(y + threadIdx.x * kN, dev::load<Vec<kN>>(x + threadIdx.x * kN));
}

TEST_CASE("counters: wide accesses are one request of all their sectors") {
  CHECK(count(wide<4>).load == Requests{.requests = 1, .lanes = 32, .sectors = 16, .lines = 4, .bytes = 512});
  CHECK(count(wide<2>).store == Requests{.requests = 1, .lanes = 32, .sectors = 8, .lines = 2, .bytes = 256});
}

__global__ void half_the_lanes(const float* x, float* y) {
  if (lane() < 16) y[lane()] = x[lane()];
}

__global__ void rounds(const float* x, float* y) {
  float sum = 0;
  for (int i = 0; i < 3; ++i) sum += x[i * 32 + lane()];
  y[lane()] = sum;
}

/// Odd lanes leave out the first round: the second is one request of all, for the warp meets before it.
__global__ void rounds_apart(const float* x, float* y) {
  float sum = 0;
  for (int i = 0; i < 2; ++i) {
    if (i > 0 || lane() % 2 == 0) sum += x[i * 32 + lane()];
    dev::syncwarp();
  }
  y[lane()] = sum;
}

TEST_CASE("counters: lanes and turns") {
  CHECK(count(half_the_lanes).load == Requests{.requests = 1, .lanes = 16, .sectors = 2, .lines = 1, .bytes = 64});
  CHECK(count(half_the_lanes).active_lanes() == 16);
  CHECK(count(rounds).load == Requests{.requests = 3, .lanes = 96, .sectors = 12, .lines = 3, .bytes = 384});
  CHECK(count(rounds_apart).load == Requests{.requests = 2, .lanes = 48, .sectors = 8, .lines = 2, .bytes = 192});
}

__global__ void add_to_one(const float*, float* y) { dev::atomic_add(reinterpret_cast<int*>(y), lane()); }

TEST_CASE("counters: atomics") {
  const Counts c = count(add_to_one, 64);
  CHECK(c.atomics == 2);
  CHECK(c.atomic_lanes == 64);
  CHECK(c.load.requests + c.store.requests == 0);
  CHECK(c.unique_store_sectors == 1);
}

// ------------------------------------------------------------------------------------------------------ shared memory

/// Writes without conflicts and reads `kStride` words apart.
template <int kStride>
__global__ void banks(const float*, float* y) {
  float(&s)[32 * 32] = dev::shared<Words>().w;
  for (int i = 0; i < 32; ++i) s[i * 32 + lane()] = 0;
  dev::syncwarp();
  y[lane()] = s[lane() * kStride];
}

template <int kN, int kPitch>
__global__ void wide_banks(const float*, float* y) {
  float(&s)[32 * 32] = dev::shared<Words>().w;
  for (int i = 0; i < 32; ++i) s[i * 32 + lane()] = 0;
  dev::syncwarp();
  dev::store(y + lane() * kN, dev::load<Vec<kN>>(s + lane() * kPitch));
}

TEST_CASE("counters: wavefronts of shared memory") {
  const auto of = [](std::uint64_t wavefronts, std::uint64_t least, std::uint64_t bytes) {
    return Wavefronts{.requests = 1, .lanes = 32, .wavefronts = wavefronts, .least = least, .bytes = bytes};
  };
  CHECK(count(banks<1>).shared_store ==
        Wavefronts{.requests = 32, .lanes = 1024, .wavefronts = 32, .least = 32, .bytes = 4096});
  CHECK(count(banks<1>).shared_load == of(1, 1, 128));
  CHECK(count(banks<2>).shared_load == of(2, 1, 128));
  CHECK(count(banks<31>).shared_load == of(1, 1, 128));  // an odd stride reaches every bank
  CHECK(count(banks<32>).shared_load == of(32, 1, 128));
  CHECK(count(banks<0>).shared_load == of(1, 1, 128));  // one word for all
  CHECK(count(wide_banks<4, 4>).shared_load == of(4, 4, 512));
  CHECK(count(wide_banks<2, 2>).shared_load == of(2, 2, 256));
  CHECK(count(wide_banks<4, 32>).shared_load == of(32, 4, 512));  // eight lanes of a phase in the same four banks
}

// ------------------------------------------------------------------------------------------- copies and tensor cores

/// The upper lanes copy nothing, and fill with zeros.
__global__ void copies(const float* x, float* y) {
  float(&s)[32 * 32] = dev::shared<Words>().w;
  for (int stage = 0; stage < 2; ++stage) {
    dev::copy_async<16>(s + stage * 128 + lane() * 4, x + stage * 128 + lane() * 4, lane() < 16 ? 16 : 0);
    dev::copy_commit();
  }
  dev::copy_wait<0>();
  y[lane()] = s[lane() * 4];
}

TEST_CASE("counters: asynchronous copies") {
  const Counts c = count(copies);
  CHECK(c.copy == Requests{.requests = 2, .lanes = 32, .sectors = 16, .lines = 4, .bytes = 512});
  CHECK(c.shared_copy == Wavefronts{.requests = 2, .lanes = 64, .wavefronts = 8, .least = 8, .bytes = 1024});
  CHECK(c.copy_bytes_in_flight == 2 * 32 * 16);
  CHECK(c.load.requests == 0);
  CHECK(c.unique_load_sectors == 16);
  CHECK(c.block_load_sectors == 0);
}

/// Matrices of rows `kPitch` floats apart.
template <int kPitch>
__global__ void matrices(const float*, float* y) {
  float(&s)[32 * 32] = dev::shared<Words>().w;
  for (int i = 0; i < 32; ++i) s[i * 32 + lane()] = 0;
  dev::syncwarp();
  std::uint32_t a[4];
  dev::ldmatrix_x4(a, s + lane() % 8 * kPitch + lane() / 8 * 4);
  const std::uint32_t b[2] = {a[0], a[1]};
  float d[4] = {0, 0, 0, 0};
  dev::mma_bf16(d, a, b);
  dev::mma_bf16(d, a, b);
  dev::mma_tf32(d, a, b);
  y[lane()] = d[0];
}

TEST_CASE("counters: matrices and products") {
  const Counts spread = count(matrices<20>), stacked = count(matrices<32>);
  CHECK(spread.shared_load == Wavefronts{.requests = 4, .lanes = 128, .wavefronts = 4, .least = 4, .bytes = 512});
  CHECK(stacked.shared_load == Wavefronts{.requests = 4, .lanes = 128, .wavefronts = 32, .least = 4, .bytes = 512});
  CHECK(spread.tensor_flops_16 == 2 * 2 * 16 * 8 * 16);
  CHECK(spread.tensor_flops_tf32 == 2 * 16 * 8 * 8);
}

// ---------------------------------------------------------------------------------------------------------- launches

TEST_CASE("counters: launches of one geometry are one entry, and nothing is counted outside") {
  const Buffer x, y;
  const auto launch = [&](unsigned blocks) {
    dev::launch("tiny", strided<1, 0>, {{blocks}, {32}}, {}, static_cast<const float*>(x.get()), y.get());
  };
  launch(1);
  const auto kernels = test::counted([&] {
    launch(1);
    launch(2);
    launch(1);
  });
  REQUIRE(kernels.size() == 2);
  CHECK(kernels[0].launches == 2);
  CHECK(kernels[0].counts.load.requests == 2);
  CHECK(kernels[0].counts.unique_load_sectors == 8);  // of each launch
  CHECK(kernels[1].launches == 1);
  CHECK(kernels[1].grid.x == 2);
  CHECK_THROWS_AS(simt::end_counting(), simt::Error);
}

TEST_CASE("modelled time: the part that takes longest, of the multiprocessors that have a block") {
  const simt::Chip chip = {.name = "none",
                           .multiprocessors = 10,
                           .clock = 1e9,
                           .memory = 1e12,
                           .tensor_16 = 1e15,
                           .tensor_tf32 = 5e14,
                           .source = ""};
  simt::KernelCounts kernel{
      .kernel = "k", .grid = {100}, .block = {32}, .shared_bytes = 0, .launches = 1, .counts = {}};
  CHECK(modelled_time(kernel, chip).seconds == 0);
  kernel.counts.unique_load_sectors = 1'000'000;
  CHECK(modelled_time(kernel, chip).bound == std::string("memory"));
  CHECK(modelled_time(kernel, chip).seconds == doctest::Approx(32e6 / (1e12 * simt::kMemoryShare)));
  kernel.counts.shared_load.wavefronts = 10'000'000;  // a millisecond of ten multiprocessors
  CHECK(modelled_time(kernel, chip).bound == std::string("wavefronts"));
  CHECK(modelled_time(kernel, chip).seconds == doctest::Approx(1e-3));
  kernel.grid = {5};
  CHECK(modelled_time(kernel, chip).seconds == doctest::Approx(2e-3));
  kernel.counts.tensor_flops_16 = 10'000'000'000'000;
  CHECK(modelled_time(kernel, chip).bound == std::string("tensor"));
  kernel.counts.copy.sectors = 1'000'000'000'000;
  CHECK(modelled_time(kernel, chip).bound == std::string("L2"));
}

}  // namespace
}  // namespace retort
