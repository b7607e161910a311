// The CPU's 8-bit convolution (contract: kernels/int8.h): an implicit matrix product.
//
// Packed filters are slivers of as many columns as a register tile has, over the whole depth, and behind them the
// numbers of each channel. A task takes some output pixels, gathers their patches into a panel of its own, whole depths
// too, so that sums never leave the registers, and walks the slivers; each tile's sums are finished while they lie in
// the first cache.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/int8/convolution.h"
#include "kernels/cpu/range.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/int8/conv.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/int8/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

Int8Kernels int8_elements(const Int8Convolution& convolution);  // elements.cpp

namespace {

constexpr std::int64_t kPanelBytes = 192 << 10;  // of a task's patches: half of a core's second cache or less
constexpr std::int64_t kMostRows = 96;           // of a panel
constexpr std::int64_t kSlack = 64;              // elements after a panel's row: copies are of whole vectors
constexpr std::int64_t kLine = 64;

std::int64_t depth(const Conv2dGeometry& g) { return g.r * g.s * g.c; }
std::int64_t rows(const Conv2dGeometry& g) { return g.n * g.p() * g.q(); }
std::int64_t round_up(std::int64_t value, std::int64_t step) { return divide_up(value, step) * step; }

/// The parts of a packed filter.
template <class Dot>
struct Packed {
  explicit Packed(const Conv2dGeometry& g)
      : steps(divide_up(depth(g), Dot::kDepth)), slivers(divide_up(g.k, kInt8Columns)) {}
  std::int64_t steps, slivers;
  std::int64_t columns() const { return slivers * kInt8Columns; }
  std::int64_t bytes() const { return columns() * (steps + 3) * 4; }

  // In units of four bytes, from the start: offset s32, scale f32, bias f32 of all columns; slivers [steps, columns].
  std::int64_t scale_at() const { return columns(); }
  std::int64_t bias_at() const { return 2 * columns(); }
  std::int64_t sliver_at(std::int64_t sliver) const { return 3 * columns() + sliver * steps * kInt8Columns; }
};

/// How a convolution is cut into tasks: blocks of rows and, where those are too few, of slivers.
template <class Dot>
struct Plan {
  explicit Plan(const Conv2dGeometry& g) : packed(g) {
    pitch = round_up(depth(g), Dot::kDepth) + kSlack;
    const std::int64_t fit = kPanelBytes / (pitch * static_cast<std::int64_t>(sizeof(typename Dot::Element)));
    const std::int64_t most = std::clamp<std::int64_t>(fit / kInt8Rows, 1, kMostRows / kInt8Rows) * kInt8Rows;
    const std::int64_t wanted = 4 * num_threads();  // tasks, so that they come out even
    block = std::min(most, round_up(divide_up(rows(g), wanted), kInt8Rows));
    blocks = divide_up(rows(g), block);
    // Each share of the slivers gathers the same rows again.
    shares = std::clamp<std::int64_t>(divide_up(wanted, blocks), 1, std::max<std::int64_t>(packed.slivers / 4, 1));
  }
  std::int64_t panel_bytes() const {
    return round_up(pitch * block * static_cast<std::int64_t>(sizeof(typename Dot::Element)), kLine);
  }
  Packed<Dot> packed;
  std::int64_t pitch, block, blocks, shares;
};

template <class Dot>
std::size_t packed_bytes(const Conv2dGeometry& g) {
  return static_cast<std::size_t>(Packed<Dot>(g).bytes());
}

template <class Dot>
std::size_t workspace_bytes(const Conv2dGeometry& g) {
  return static_cast<std::size_t>(Plan<Dot>(g).panel_bytes() * num_threads());
}

template <class Dot>
void pack(const Conv2dGeometry& g, const Int8Filter& filter, void* packed) {
  const Packed<Dot> parts(g);
  auto* const offset = static_cast<std::int32_t*>(packed);
  auto* const scale = static_cast<float*>(packed) + parts.scale_at();
  auto* const bias = static_cast<float*>(packed) + parts.bias_at();
  std::memset(packed, 0, static_cast<std::size_t>(parts.bytes()));
  std::copy_n(filter.scale, g.k, scale);
  std::copy_n(filter.bias, g.k, bias);
  using Weight = std::conditional_t<sizeof(typename Dot::Element) == 1, std::int8_t, std::int16_t>;
  parallel_for(parts.slivers, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t sliver = begin; sliver < end; ++sliver) {
      auto* const to = reinterpret_cast<Weight*>(offset + parts.sliver_at(sliver));
      const std::int64_t first = sliver * kInt8Columns, count = std::min(kInt8Columns, g.k - first);
      for (std::int64_t l = 0; l < depth(g); ++l)
        for (std::int64_t j = 0; j < count; ++j) {
          const std::int8_t weight = filter.weight[l * g.k + first + j];
          to[(l / Dot::kDepth * kInt8Columns + j) * Dot::kDepth + l % Dot::kDepth] = static_cast<Weight>(int{weight});
          offset[first + j] -= filter.zero * weight;
        }
    }
  });
}

// ---- Patches ----

/// Levels that multiply bytes alone use it.
[[maybe_unused]] HWY_INLINE void copy_bytes(const std::uint8_t* from, std::int64_t count, std::uint8_t* to) {
  const hn::CappedTag<std::uint8_t, 32> d;
  constexpr std::int64_t kStep = hn::MaxLanes(d);
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i == count) return;
  if (count >= kStep) {  // the last vector overlaps the one before
    hn::StoreU(hn::LoadU(d, from + count - kStep), d, to + count - kStep);
    return;
  }
  for (; i < count; ++i) to[i] = from[i];
}

/// Widens as it copies.
HWY_INLINE void copy_bytes(const std::uint8_t* from, std::int64_t count, std::int16_t* to) {
  const hn::ScalableTag<std::int16_t> d;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  constexpr std::int64_t kStep = hn::MaxLanes(d);
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) hn::StoreU(hn::PromoteTo(d, hn::LoadU(bytes, from + i)), d, to + i);
  if (i == count) return;
  if (count >= kStep) {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(bytes, from + count - kStep)), d, to + count - kStep);
    return;
  }
  for (; i < count; ++i) to[i] = from[i];
}

/// The patch of one output pixel [r, s, c] into a panel's row.
template <class Element>
HWY_INLINE void gather_patch(const Conv2dGeometry& g, std::int32_t zero, const std::uint8_t* image, std::int64_t p,
                             std::int64_t q, Element* to) {
  const auto outside = static_cast<Element>(zero);
  const std::int64_t top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
  if (g.dilation_w > 1) {
    for (std::int64_t r = 0; r < g.r; ++r)
      for (std::int64_t s = 0; s < g.s; ++s, to += g.c) {
        const std::int64_t h = top + r * g.dilation_h, w = left + s * g.dilation_w;
        if (h < 0 || h >= g.h || w < 0 || w >= g.w)
          std::fill_n(to, g.c, outside);
        else
          copy_bytes(image + (h * g.w + w) * g.c, g.c, to);
      }
    return;
  }
  const std::int64_t before = std::clamp<std::int64_t>(-left, 0, g.s), after = std::clamp(left + g.s - g.w, {}, g.s);
  for (std::int64_t r = 0; r < g.r; ++r, to += g.s * g.c) {
    const std::int64_t h = top + r * g.dilation_h;
    if (h < 0 || h >= g.h || before + after >= g.s) {
      std::fill_n(to, g.s * g.c, outside);
      continue;
    }
    std::fill_n(to, before * g.c, outside);
    copy_bytes(image + (h * g.w + left + before) * g.c, (g.s - before - after) * g.c, to + before * g.c);
    std::fill_n(to + (g.s - after) * g.c, after * g.c, outside);
  }
}

template <class Dot>
void gather(const Conv2dGeometry& g, std::int32_t zero, const std::uint8_t* x, Range range, std::int64_t pitch,
            typename Dot::Element* panel) {
  const std::int64_t patch = depth(g), images = g.h * g.w * g.c;
  std::int64_t q = range.begin % g.q(), p = range.begin / g.q() % g.p();
  const std::uint8_t* image = x + range.begin / (g.p() * g.q()) * images;
  for (std::int64_t row = range.begin; row < range.end; ++row, panel += pitch) {
    gather_patch(g, zero, image, p, q, panel);
    std::fill_n(panel + patch, Dot::kDepth, typename Dot::Element{});
    if (++q < g.q()) continue;
    q = 0;
    if (++p < g.p()) continue;
    p = 0;
    image += images;
  }
}

// ---- Sums into what the epilogue asks for ----

/// `count` columns of one row; numbers and sums can be read in whole vectors.
HWY_INLINE void finish_row(const Int8Epilogue& epilogue, const std::int32_t* sums, const float* scale,
                           const float* bias, std::int64_t at, std::int64_t count, void* y) {
  const hn::ScalableTag<float> d;
  const I32 integers;
  const hn::Rebind<std::uint8_t, I32> bytes;
  const auto low = hn::Set(d, epilogue.low), high = hn::Set(d, epilogue.high);
  const auto factor = hn::Set(d, epilogue.residual_scale);
  for (std::int64_t j = 0; j < count; j += kInt8Lanes) {
    const std::int64_t some = std::min(kInt8Lanes, count - j);
    const auto sum = hn::Load(integers, sums + j);
    if (epilogue.y == DType::i32) {
      HWY_ALIGN std::int32_t part[kInt8Lanes];
      hn::Store(sum, integers, part);
      std::copy_n(part, some, static_cast<std::int32_t*>(y) + at + j);
      continue;
    }
    auto value = hn::MulAdd(hn::ConvertTo(d, sum), hn::Load(d, scale + j), hn::Load(d, bias + j));
    if (epilogue.residual) {
      HWY_ALIGN std::uint8_t part[kInt8Lanes] = {};
      const std::uint8_t* residual = epilogue.residual + at + j;
      if (some < kInt8Lanes) {
        std::copy_n(residual, some, part);
        residual = part;
      }
      const auto added = hn::PromoteTo(integers, hn::LoadU(bytes, residual));
      value = hn::MulAdd(hn::ConvertTo(d, added), factor, value);
    }
    value = hn::Min(hn::Max(value, low), high);
    if (epilogue.y == DType::f32) {
      if (some == kInt8Lanes) {
        hn::StoreU(value, d, static_cast<float*>(y) + at + j);
        continue;
      }
      HWY_ALIGN float part[kInt8Lanes];
      hn::Store(value, d, part);
      std::copy_n(part, some, static_cast<float*>(y) + at + j);
      continue;
    }
    const auto rounded = hn::DemoteTo(bytes, hn::NearestInt(value));
    if (some == kInt8Lanes) {
      hn::StoreU(rounded, bytes, static_cast<std::uint8_t*>(y) + at + j);
      continue;
    }
    HWY_ALIGN std::uint8_t part[kInt8Lanes + 1];  // with a lane alone this is never reached, which compilers do not see
    hn::StoreU(rounded, bytes, part);
    std::copy_n(part, some, static_cast<std::uint8_t*>(y) + at + j);
  }
}

template <class Dot>
void conv(Stream, const Conv2dGeometry& g, std::int32_t zero, const std::uint8_t* x, const void* packed,
          const Int8Epilogue& epilogue, void* y, void* workspace) {
  const Plan<Dot> plan(g);
  const Packed<Dot>& parts = plan.packed;
  const auto* const offset = static_cast<const std::int32_t*>(packed);
  const auto* const scale = static_cast<const float*>(packed) + parts.scale_at();
  const auto* const bias = static_cast<const float*>(packed) + parts.bias_at();
  const std::int64_t all = rows(g);
  parallel_tasks(plan.blocks * plan.shares, [&](std::int64_t task, int thread) HWY_ATTR {
    const std::int64_t first = task / plan.shares * plan.block;
    const Range range{first, std::min(first + plan.block, all)};
    auto* const panel =
        reinterpret_cast<typename Dot::Element*>(static_cast<std::byte*>(workspace) + thread * plan.panel_bytes());
    gather<Dot>(g, zero, x, range, plan.pitch, panel);
    const Range slivers = share_of(parts.slivers, plan.shares, task % plan.shares);
    for (std::int64_t sliver = slivers.begin; sliver < slivers.end; ++sliver) {
      const std::int64_t column = sliver * kInt8Columns, columns = std::min(kInt8Columns, g.k - column);
      const std::int32_t* const b = offset + parts.sliver_at(sliver);
      for (std::int64_t row = 0; row < range.size(); row += kInt8Rows) {
        HWY_ALIGN std::int32_t sums[kInt8Rows * kInt8Columns];
        // Rows of the panel after the last one hold an earlier task's: their sums are left out.
        const std::int64_t some = std::min<std::int64_t>(kInt8Rows, range.size() - row);
        if (some > kInt8Rows / 2)
          int8_tile<Dot, kInt8Rows>(panel + row * plan.pitch, plan.pitch, b, parts.steps, offset + column, sums);
        else
          int8_tile<Dot, kInt8Rows / 2>(panel + row * plan.pitch, plan.pitch, b, parts.steps, offset + column, sums);
        for (std::int64_t i = 0; i < some; ++i)
          finish_row(epilogue, sums + i * kInt8Columns, scale + column, bias + column,
                     (range.begin + row + i) * g.k + column, columns, y);
      }
    }
  });
}

template <class Dot>
const Int8Convolution& convolution() {
  static const Int8Convolution entries = {
      .packed_bytes = packed_bytes<Dot>, .workspace_bytes = workspace_bytes<Dot>, .pack = pack<Dot>, .conv = conv<Dot>};
  return entries;
}

}  // namespace

const Int8Convolution& int8_convolution([[maybe_unused]] bool vnni) {
#if HWY_TARGET == HWY_AVX3
  if (vnni) return convolution<Int8Dot>();
#endif
  return convolution<PairDot>();
}

const Int8Kernels& int8_kernels_of(bool vnni) {
  static const Int8Kernels pairs = int8_elements(int8_convolution(false)), dots = int8_elements(int8_convolution(true));
  return vnni ? dots : pairs;
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

/// Whether products run by AVX-512 VNNI. A processor that has AVX-512 BF16 has it too: the level below shows how it is
/// without either.
bool vnni() {
#if defined(__x86_64__)
  static const bool here = __builtin_cpu_supports("avx512vnni") != 0;
  return here && simd_level() >= SimdLevel::avx512 &&
         (simd_level() == SimdLevel::avx512_bf16 || !simd_available(SimdLevel::avx512_bf16));
#else
  return false;
#endif
}

}  // namespace

const Int8Kernels& int8_kernels() { return RETORT_SIMD_SELECT(int8_kernels_of)(vnni()); }

}  // namespace retort::cpu
#endif
