// What the simulator makes of compute capability 9.0: bulk copies and wgmma against loops, and a kernel whose roles run
// ahead of each other, broken on purpose in every way that its barriers, copies, fences and registers allow.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/dev_hopper.h"
#include "kernels/simt/simulator.h"

namespace retort {
namespace {

// ------------------------------------------------------------------------------------------------------------ buffers

/// A buffer of the simulator's with the elements of a vector.
template <class T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    std::copy(values.begin(), values.end(), memory_);
  }
  explicit Buffer(std::size_t count) : memory_(static_cast<T*>(simt::allocate(count * sizeof(T)))), count_(count) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { simt::release(memory_); }
  T* get() const { return memory_; }
  std::vector<T> values() const { return {memory_, memory_ + count_}; }

 private:
  T* memory_;
  std::size_t count_;
};

/// Small integers, without a pattern that a wrong place would repeat.
std::vector<BFloat16> integers(std::size_t count, std::uint32_t seed) {
  std::vector<BFloat16> values;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t mixed = (i + seed) * 2654435761u;
    values.emplace_back(static_cast<float>(mixed >> 16 & 7) - 3);
  }
  return values;
}

// ------------------------------------------------------------------------------------- one box, as it lies in memory

constexpr int kBoxRows = 16, kBoxElements = kBoxRows * 64;

struct Fetch {
  dev::TensorMap map;
  bool pixels;
  int at[4], tap[2];
};

/// out = the box that a load brings, its swizzle undone.
__global__ void fetch_box(const __grid_constant__ Fetch g, BFloat16* out) {
  auto* const box = static_cast<unsigned char*>(dev::dynamic_shared());
  auto& full = *reinterpret_cast<dev::Mbarrier*>(box + kBoxElements * 2);
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    dev::mbarrier_init(full, 1);
    dev::mbarrier_init_fence();
    dev::mbarrier_expect(full, kBoxElements * 2);
    if (g.pixels)
      dev::load_pixels(box, g.map, full, g.at, g.tap);
    else
      dev::load_box(box, g.map, full, {g.at[0], g.at[1], g.at[2]});
  }
  dev::syncthreads();
  dev::mbarrier_wait(full, 0);
  for (int i = t; i < kBoxElements; i += 32) {
    const int row = i / 64, chunk = i % 64 / 8;
    out[i] = *reinterpret_cast<const BFloat16*>(box + row * 128 + (chunk ^ row % 8) * 16 + i % 8 * 2);
  }
}

std::vector<BFloat16> fetched(const Fetch& g) {
  const Buffer<BFloat16> out(kBoxElements);
  dev::launch("fetch_box", fetch_box, {{1}, {32}, kBoxElements * 2 + 8}, {}, g, out.get());
  return out.values();
}

// --------------------------------------------------------------------------------------------- one product of a group

struct Operands {
  dev::TensorMap a, b;
};

/// d [64, 128] = a b, 64 deep; a is [64, 64] by m or by k, b [64, 128] likewise.
template <bool kAlongM, bool kAlongN>
__global__ void group_product(const __grid_constant__ Operands g, float* d) {
  auto* const a = static_cast<unsigned char*>(dev::dynamic_shared());
  unsigned char* const b = a + 8192;
  auto& full = *reinterpret_cast<dev::Mbarrier*>(b + 16384);
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    dev::mbarrier_init(full, 1);
    dev::mbarrier_init_fence();
    dev::mbarrier_expect(full, 24576);
    dev::load_box(a, g.a, full, {0, 0});
    for (int i = 0; i < (kAlongN ? 2 : 1); ++i) dev::load_box(b + i * 8192, g.b, full, {i * 64, 0});
  }
  dev::syncthreads();
  dev::mbarrier_wait(full, 0);
  float sums[64] = {};
  const std::uint64_t left = dev::matrix_descriptor(dev::shared_address(a), 8192);
  const std::uint64_t right = dev::matrix_descriptor(dev::shared_address(b), 8192);
  dev::wgmma_fence();
  for (int i = 0; i < 4; ++i)
    dev::wgmma<kAlongM, kAlongN>(sums, left + (i * (kAlongM ? 2048 : 32) >> 4),
                                 right + (i * (kAlongN ? 2048 : 32) >> 4));
  dev::wgmma_commit();
  dev::wgmma_wait<0>();
  for (int i = 0; i < 64; ++i)
    d[(t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * 128 + i / 4 * 8 + t % 4 * 2 + i % 2] = sums[i];
}

template <bool kAlongM, bool kAlongN>
void check_group_product() {
  const std::vector<BFloat16> a = integers(64 * 64, 1), b = integers(64 * 128, 2);
  const Buffer<BFloat16> left(a), right(b);
  const Buffer<float> out(64 * 128);
  const Operands g = {dev::tiled_map<2>(left.get(), {64, 64}, {64, 64}),
                      kAlongN ? dev::tiled_map<2>(right.get(), {128, 64}, {64, 64})
                              : dev::tiled_map<2>(right.get(), {64, 128}, {64, 128})};
  dev::launch("group_product", group_product<kAlongM, kAlongN>, {{1}, {128}, 24576 + 8}, {}, g, out.get());
  const std::vector<float> found = out.values();
  int wrong = 0;
  for (std::size_t m = 0; m < 64; ++m)
    for (std::size_t n = 0; n < 128; ++n) {
      float sum = 0;
      for (std::size_t k = 0; k < 64; ++k)
        sum += float(a[kAlongM ? k * 64 + m : m * 64 + k]) * float(b[kAlongN ? k * 128 + n : n * 64 + k]);
      wrong += found[m * 128 + n] != sum;
    }
  CHECK(wrong == 0);
}

// --------------------------------------------------------------------------------------- a kernel broken in many ways

enum class Ring {
  correct,
  no_init_fence,
  no_barrier_after_init,
  initialised_twice,
  producer_parity,
  consumer_parity,
  no_wait_for_full,
  no_wait_for_empty,
  released_before_wait,
  released_in_flight,
  released_by_one_warp,
  released_twice,
  empty_waits_for_more,
  empty_waits_for_fewer,
  full_waits_for_more,
  expects_a_alone,
  expects_too_many,
  expects_nothing,
  one_slice_too_few,
  one_slice_too_many,
  stage_of_b,
  misaligned_stage,
  swapped_coordinates,
  tiled_map_for_pixels,
  map_not_encoded,
  no_product_fence,
  fence_before_clearing,
  no_commit,
  no_wait_before_epilogue,
  sums_read_in_flight,
  sums_written_in_flight,
  k_step,
  leading_offset,
  layout,
  warps_differ,
  half_a_group,
  rows_swapped,
  c_not_swizzled,
  no_proxy_fence,
  no_barrier_before_store,
  no_barrier_before_staging,
  no_read_wait_between_tiles,
  no_read_wait_at_the_end,
  unfenced_operand,
  barrier_overwritten,
  registers_too_many,
  registers_wrong_way,
  registers_no_multiple_of_8,
  registers_of_one_warp
};

constexpr int kM = 256, kN = 128, kK = 5 * 64, kStages = 3;
constexpr int kBytesA = 128 * 128, kBytesB = kN * 128, kStageBytes = kBytesA + kBytesB, kBytesC = 128 * kN * 2;
constexpr int kSharedBytes = kStages * kStageBytes + kBytesC + 2 * kStages * 8;

struct RingArguments {
  dev::TensorMap a, b, c;
};

/// C [kM, kN] = A [kM, kK] B [kK, kN], in tiles of 128 rows, by one block: a producer and two consumers.
template <Ring kVariant>
__global__ void ring(const __grid_constant__ RingArguments g) {
  constexpr auto is = [](Ring variant) { return kVariant == variant; };
  auto* const memory = static_cast<unsigned char*>(dev::dynamic_shared());
  const auto stage_at = [&](int stage) { return memory + stage * kStageBytes; };
  auto* const full = reinterpret_cast<dev::Mbarrier*>(stage_at(kStages) + kBytesC);
  dev::Mbarrier* const empty = full + kStages;
  const int t = static_cast<int>(threadIdx.x), group = t / 128, lane = t % 32, warp = t / 32;
  if (t == 0) {
    for (int s = 0; s < kStages; ++s) {
      dev::mbarrier_init(full[s], is(Ring::full_waits_for_more) ? 2 : 1);
      dev::mbarrier_init(empty[s], is(Ring::empty_waits_for_more) ? 9 : is(Ring::empty_waits_for_fewer) ? 7 : 8);
      if (is(Ring::initialised_twice)) dev::mbarrier_init(full[s], 1);
    }
    if (!is(Ring::no_init_fence)) dev::mbarrier_init_fence();
  }
  if (!is(Ring::no_barrier_after_init)) dev::syncthreads();
  int s = 0;
  unsigned parity = 0;
  const auto advance = [&] {
    if (++s == kStages) s = 0, parity ^= 1;
  };
  if (group == 0) {
    if (is(Ring::registers_wrong_way))
      dev::more_registers<40>();
    else if (is(Ring::registers_no_multiple_of_8))
      dev::fewer_registers<42>();
    else if (!is(Ring::registers_of_one_warp) || warp == 0)
      dev::fewer_registers<40>();
    if (warp > 0 || !dev::elect()) return;
    const int slices = kK / 64 + (is(Ring::one_slice_too_many) ? 1 : is(Ring::one_slice_too_few) ? -1 : 0);
    for (int m = 0; m < kM; m += 128)
      for (int slice = 0; slice < slices; ++slice, advance()) {
        if (!is(Ring::no_wait_for_empty)) dev::mbarrier_wait(empty[s], is(Ring::producer_parity) ? parity : parity ^ 1);
        if (is(Ring::expects_nothing))
          dev::mbarrier_arrive(full[s]);
        else
          dev::mbarrier_expect(full[s], is(Ring::expects_a_alone)    ? kBytesA
                                        : is(Ring::expects_too_many) ? kStageBytes + 16
                                                                     : kStageBytes);
        unsigned char* const a = stage_at(s) + (is(Ring::misaligned_stage) ? 64 : 0);
        unsigned char* const b = stage_at(is(Ring::stage_of_b) ? (s + 1) % kStages : s) + kBytesA;
        if (is(Ring::tiled_map_for_pixels))
          dev::load_pixels(a, g.a, full[s], {slice * 64, m, 0, 0}, {0, 0});
        else if (is(Ring::map_not_encoded))
          dev::load_box(a, dev::TensorMap(), full[s], {slice * 64, m});
        else if (is(Ring::swapped_coordinates))
          dev::load_box(a, g.a, full[s], {m, slice * 64});
        else
          dev::load_box(a, g.a, full[s], {slice * 64, m});
        for (int n = 0; n < kN; n += 64) dev::load_box(b + n * 128, g.b, full[s], {n, slice * 64});
      }
    return;
  }
  dev::more_registers<is(Ring::registers_too_many) ? 248 : 232>();
  unsigned char* const staging = stage_at(kStages) + (group - 1) * (kBytesC / 2);
  const auto meet = [&] {
    if (group == 1)
      dev::group_barrier<1>(128);
    else
      dev::group_barrier<2>(128);
  };
  const auto release = [&](int stage) {
    if (lane == 0 && !(is(Ring::released_by_one_warp) && warp % 4 > 0)) dev::mbarrier_arrive(empty[stage]);
    if (lane == 0 && is(Ring::released_twice)) dev::mbarrier_arrive(empty[stage]);
  };
  float sums[kN / 2];
  for (int m = (group - 1) * 64; m < kM; m += 128) {
    if (is(Ring::fence_before_clearing)) dev::wgmma_fence();
    for (float& sum : sums) sum = 0;
    int before = -1;
    for (int slice = 0; slice < kK / 64; ++slice, advance()) {
      if (!is(Ring::no_wait_for_full)) dev::mbarrier_wait(full[s], is(Ring::consumer_parity) ? 0 : parity);
      if (is(Ring::unfenced_operand) && slice == 0) {
        auto* const element = reinterpret_cast<BFloat16*>(stage_at(s) + (group - 1) * 8192) + t % 128;
        dev::store_shared(element, dev::load<BFloat16>(element));
        meet();
      }
      if (is(Ring::barrier_overwritten) && slice == 1) full[s].word = 0;
      const std::uint64_t bits = is(Ring::layout) ? std::uint64_t{3} << 62 : 0;
      const std::uint64_t a =
          dev::matrix_descriptor(dev::shared_address(stage_at(s)) + static_cast<unsigned>(group - 1) * 8192, 8192) ^
          bits;
      const std::uint64_t b =
          dev::matrix_descriptor(dev::shared_address(stage_at(s) + kBytesA), is(Ring::leading_offset) ? 4096 : 8192);
      if (!is(Ring::no_product_fence) && !is(Ring::fence_before_clearing)) dev::wgmma_fence();
      for (unsigned i = 0; i < 4; ++i)
        if (!is(Ring::half_a_group) || warp % 4 < 2)
          dev::wgmma<false, true>(
              sums, a + (i * (is(Ring::k_step) ? 64 : 32) >> 4) + (is(Ring::warps_differ) && warp % 4 == 3 ? 2 : 0),
              b + (i * 2048 >> 4));
      if (!is(Ring::no_commit)) dev::wgmma_commit();
      if (is(Ring::sums_written_in_flight)) sums[3] = 0;
      if (is(Ring::released_before_wait)) release(s);
      if (is(Ring::sums_read_in_flight)) sums[0] += 1;
      dev::wgmma_wait<1>();
      if (is(Ring::released_in_flight))
        release(s);
      else if (before >= 0 && !is(Ring::released_before_wait))
        release(before);
      before = s;
    }
    if (!is(Ring::no_wait_before_epilogue)) dev::wgmma_wait<0>();
    if (!is(Ring::released_before_wait) && !is(Ring::released_in_flight)) release(before);
    if (t % 128 == 0 && !is(Ring::no_read_wait_between_tiles)) dev::store_wait_read<0>();
    if (!is(Ring::no_barrier_before_staging)) meet();
    const int row = warp % 4 * 16 + lane % 16;
    for (int j = 0; j < kN / 16; ++j) {
      std::uint32_t words[4];
      for (int i = 0; i < 4; ++i) words[i] = dev::pack_bf16(sums[j * 8 + i * 2], sums[j * 8 + i * 2 + 1]);
      if (is(Ring::rows_swapped)) std::swap(words[0], words[1]);
      const int chunk = j % 4 * 2 + lane / 16;
      dev::stmatrix_x4(staging + j / 4 * 8192 + row * 128 + (is(Ring::c_not_swizzled) ? chunk : chunk ^ row % 8) * 16,
                       words);
    }
    if (!is(Ring::no_proxy_fence)) dev::proxy_fence();
    if (!is(Ring::no_barrier_before_store)) meet();
    if (t % 128 > 0) continue;
    for (int n = 0; n < kN; n += 64) dev::store_box(g.c, staging + n * 128, {n, m});
    dev::store_commit();
  }
  if (t % 128 == 0 && !is(Ring::no_read_wait_at_the_end)) dev::store_wait_read<0>();
}

/// Runs a variant; returns what stopped it, "wrong result", or an empty string.
template <Ring kVariant>
std::string run_ring() {
  static const std::vector<BFloat16> a = integers(kM * kK, 5), b = integers(kK * kN, 7);
  static const std::vector<float> expected = [] {
    std::vector<float> c(kM * kN, 0.0f);
    for (std::size_t m = 0; m < kM; ++m)
      for (std::size_t k = 0; k < kK; ++k)
        for (std::size_t n = 0; n < kN; ++n) c[m * kN + n] += float(a[m * kK + k]) * float(b[k * kN + n]);
    return c;
  }();
  const Buffer<BFloat16> left(a), right(b), out(kM * kN);
  const RingArguments g = {dev::tiled_map<2>(left.get(), {kK, kM}, {64, 128}),
                           dev::tiled_map<2>(right.get(), {kN, kK}, {64, 64}),
                           dev::tiled_map<2>(out.get(), {kN, kM}, {64, 64})};
  try {
    dev::launch("ring", ring<kVariant>, {{1}, {384}, kSharedBytes}, {}, g);
  } catch (const simt::Error& error) {
    return error.what();
  }
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (out.get()[i].bits != BFloat16(expected[i]).bits) return "wrong result";
  return "";
}

struct Defect {
  const char* name;
  std::string (*run)();
  const char* says;  ///< a part of what names the cause; empty where only the result shows it
};

}  // namespace

TEST_CASE("simt: a tiled load brings a box, zeros beyond the tensor") {
  const std::vector<BFloat16> values = integers(72 * 7 * 3, 1);
  const Buffer<BFloat16> tensor(values);
  const auto map = dev::tiled_map<3>(tensor.get(), {72, 7, 3}, {64, 8, 2});
  for (const std::array<int, 3> begin : {std::array{0, 0, 0}, {64, 3, 1}, {8, 5, 2}, {16, -2, -1}}) {
    const std::vector<BFloat16> found = fetched({map, false, {begin[0], begin[1], begin[2], 0}, {}});
    for (int i = 0; i < kBoxElements; ++i) {
      const int x = begin[0] + i % 64, y = begin[1] + i / 64 % 8, z = begin[2] + i / 512;
      const bool inside = x < 72 && y >= 0 && y < 7 && z >= 0 && z < 3;
      CHECK(found[static_cast<std::size_t>(i)].bits ==
            (inside ? values[static_cast<std::size_t>((z * 7 + y) * 72 + x)].bits : 0));
    }
  }
}

TEST_CASE("simt: an im2col load brings a tap's pixels, zeros outside the image") {
  constexpr int kC = 72, kH = 7, kW = 5, kImages = 2, kPad = 1, kFilter = 3, kStride = 2;
  constexpr int kRows = (kH + 2 * kPad - kFilter) / kStride + 1, kColumns = (kW + 2 * kPad - kFilter) / kStride + 1;
  const std::vector<BFloat16> values = integers(kC * kH * kW * kImages, 3);
  const Buffer<BFloat16> tensor(values);
  const auto map = dev::im2col_map(tensor.get(),
                                   {.c = kC,
                                    .w = kW,
                                    .h = kH,
                                    .n = kImages,
                                    .lower_w = -kPad,
                                    .lower_h = -kPad,
                                    .upper_w = kPad - (kFilter - 1),
                                    .upper_h = kPad - (kFilter - 1),
                                    .step_w = kStride,
                                    .step_h = kStride},
                                   kBoxRows);
  for (int tap = 0; tap < kFilter * kFilter; ++tap)
    for (const int first : {0, 5, 11, 17}) {
      const int p = first / kColumns % kRows, q = first % kColumns, image = first / kColumns / kRows;
      const std::vector<BFloat16> found =
          fetched({map, true, {8, q * kStride - kPad, p * kStride - kPad, image}, {tap % kFilter, tap / kFilter}});
      for (int i = 0; i < kBoxElements; ++i) {
        const int pixel = first + i / 64, c = 8 + i % 64, n = pixel / kColumns / kRows;
        const int h = pixel / kColumns % kRows * kStride - kPad + tap / kFilter;
        const int w = pixel % kColumns * kStride - kPad + tap % kFilter;
        const bool inside = n < kImages && h >= 0 && h < kH && w >= 0 && w < kW && c < kC;
        CHECK(found[static_cast<std::size_t>(i)].bits ==
              (inside ? values[static_cast<std::size_t>(((n * kH + h) * kW + w) * kC + c)].bits : 0));
      }
    }
}

TEST_CASE("simt: wgmma multiplies operands of either order") {
  check_group_product<false, false>();
  check_group_product<false, true>();
  check_group_product<true, false>();
  check_group_product<true, true>();
}

TEST_CASE("simt: a tensor map beyond the limits is refused") {
  const Buffer<BFloat16> tensor(4096);
  const auto refusal = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal([&] { dev::tiled_map<2>(tensor.get(), {64, 8}, {64, 8}); }) == "");
  CHECK(refusal([&] {
          dev::tiled_map<2>(tensor.get() + 4, {64, 8}, {64, 8});
        }).find("from a multiple of 16 is 8") != std::string::npos);
  CHECK(refusal([&] {
          dev::tiled_map<2>(tensor.get(), {12, 8}, {64, 8});
        }).find("a multiple of 16 bytes") != std::string::npos);
  CHECK(refusal([&] {
          dev::tiled_map<2>(tensor.get(), {64, 8}, {64, 257});
        }).find("from 1 to 256, is 257") != std::string::npos);
  const dev::PixelWindow window = {8, 4, 4, 1, -129, 0, 0, 0, 1, 1};
  CHECK(refusal([&] { dev::im2col_map(tensor.get(), window, 64); }).find("from -128 to 127, is -129") !=
        std::string::npos);
}

TEST_CASE("simt: a ring of stages runs clean under every order of threads") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    simt::set_seed(seed);
    CHECK(run_ring<Ring::correct>() == "");
  }
  simt::set_seed(1);
}

TEST_CASE("simt: every broken ring is caught, and told what is at fault") {
#define VARIANT(name, says) \
  { #name, run_ring < Ring::name>, says }
  const std::vector<Defect> defects = {
      VARIANT(no_init_fence, "passed no mbarrier_init_fence since"),
      VARIANT(no_barrier_after_init, "with no barrier between"),
      VARIANT(initialised_twice, "there is an mbarrier already"),
      VARIANT(producer_parity, "deadlock; "),
      VARIANT(consumer_parity, "into it has not been waited for"),
      VARIANT(no_wait_for_full, "into it has not been waited for"),
      VARIANT(no_wait_for_empty, "one arrival too many at the mbarrier"),
      VARIANT(released_before_wait, "has not been waited for to have read: released too early"),
      VARIANT(released_in_flight, "has not been waited for to have read: released too early"),
      VARIANT(released_by_one_warp, "deadlock; "),
      VARIANT(released_twice, "released too early"),
      VARIANT(empty_waits_for_more, "1 of 9 arrivals and 0 bytes missing"),
      VARIANT(empty_waits_for_fewer, ""),
      VARIANT(full_waits_for_more, "1 of 2 arrivals and"),
      VARIANT(expects_a_alone, "expected too few bytes"),
      VARIANT(expects_too_many, "0 of 1 arrivals and 16 bytes missing"),
      VARIANT(expects_nothing, "into it has not been waited for"),
      VARIANT(one_slice_too_few, "deadlock; "),
      VARIANT(one_slice_too_many, ""),
      VARIANT(stage_of_b, ""),
      VARIANT(misaligned_stage, "it must lie at a multiple of 128"),
      VARIANT(swapped_coordinates, ""),
      VARIANT(tiled_map_for_pixels, "its map is for tiled copies"),
      VARIANT(map_not_encoded, "its map was not made by tiled_map or im2col_map"),
      VARIANT(no_product_fence, "passed no wgmma_fence since its sums were last touched"),
      VARIANT(fence_before_clearing, "passed no wgmma_fence since its sums were last touched"),
      VARIANT(no_commit, ""),
      VARIANT(no_wait_before_epilogue, "a sum of wgmma hopper_defects_test.cpp:"),
      VARIANT(sums_read_in_flight, "a sum of wgmma hopper_defects_test.cpp:"),
      VARIANT(sums_written_in_flight, "a sum of wgmma hopper_defects_test.cpp:"),
      VARIANT(k_step, ""),
      VARIANT(leading_offset, ""),
      VARIANT(layout, ""),
      VARIANT(warps_differ, "another warp of the group issued something else at its place"),
      VARIANT(half_a_group, ""),
      VARIANT(rows_swapped, ""),
      VARIANT(c_not_swizzled, ""),
      VARIANT(no_proxy_fence, "and passed no proxy_fence since"),
      VARIANT(no_barrier_before_store, ""),
      VARIANT(no_barrier_before_staging, ""),
      VARIANT(no_read_wait_between_tiles, "has not been waited for to have read"),
      VARIANT(no_read_wait_at_the_end, "has not been waited for to have read shared memory"),
      VARIANT(unfenced_operand, "and passed no proxy_fence since"),
      VARIANT(barrier_overwritten, "touches the mbarrier at byte"),
      VARIANT(registers_too_many, "the registers don't add up"),
      VARIANT(registers_wrong_way, "a multiple of 8 from 24 to 256 in that direction is expected"),
      VARIANT(registers_no_multiple_of_8, "a multiple of 8 from 24 to 256 in that direction is expected"),
      VARIANT(registers_of_one_warp, ""),
  };
#undef VARIANT
  constexpr std::uint64_t kSeeds = 4;
  std::size_t caught = 0;
  for (const Defect& defect : defects) {
    std::string found;
    for (std::uint64_t seed = 1; seed <= kSeeds && found.empty(); ++seed) {
      simt::set_seed(seed);
      found = defect.run();
    }
    caught += !found.empty();
    CAPTURE(std::string(defect.name));
    CAPTURE(found);
    MESSAGE(std::string(defect.name), ": ", found.empty() ? "NOT CAUGHT" : found);
    CHECK(found.find(defect.says) != std::string::npos);
  }
  simt::set_seed(1);
  CHECK(caught == defects.size());
}

}  // namespace retort
