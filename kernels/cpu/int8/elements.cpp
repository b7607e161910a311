// What 8-bit inference does to single elements and windows, on the CPU (contract: kernels/int8.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/cpu/int8/convolution.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/int8/elements.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Integers = hn::RebindToSigned<Floats>;
using Bytes = hn::Rebind<std::uint8_t, Floats>;
constexpr std::int64_t kLanes = hn::MaxLanes(Floats());
constexpr std::int64_t kGrain = 1 << 14;  // bytes that are worth a task

/// Calls work(i) for whole vectors of [0, n) over all threads. The last vector of a range overlaps the one before it;
/// what is shorter than a vector is left to rest(i).
template <class Work, class Rest>
void for_vectors(std::int64_t n, const Work& work, const Rest& rest) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    if (end - begin < kLanes) {
      for (std::int64_t i = begin; i < end; ++i) rest(i);
      return;
    }
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) work(i);
    if (i < end) work(end - kLanes);
  });
}

/// A function of vectors, on elements one by one: the same code, on a vector that holds one of them.
template <class From, class To, class Vectors>
HWY_INLINE void one(const From* x, To* y, const Vectors& vectors) {
  HWY_ALIGN From in[kLanes] = {};
  HWY_ALIGN To out[kLanes];
  in[0] = *x;
  vectors(in, out);
  *y = out[0];
}

HWY_INLINE hn::Vec<Floats> load(const std::uint8_t* from) {
  return hn::ConvertTo(Floats(), hn::PromoteTo(Integers(), hn::LoadU(Bytes(), from)));
}

HWY_INLINE void store(hn::Vec<Floats> value, float low, std::uint8_t* to) {
  const Floats d;
  const auto kept = hn::Min(hn::Max(value, hn::Set(d, low)), hn::Set(d, 255));
  hn::StoreU(hn::DemoteTo(Bytes(), hn::NearestInt(kept)), Bytes(), to);
}

void quantize(Stream, std::int64_t n, Quantization q, const float* x, std::uint8_t* y) {
  const float factor = 1 / q.scale;
  const auto vectors = [&](const float* from, std::uint8_t* to) HWY_ATTR {
    const Floats d;
    auto value = hn::MulAdd(hn::LoadU(d, from), hn::Set(d, factor), hn::Set(d, static_cast<float>(q.zero)));
    value = hn::IfThenElseZero(hn::Eq(value, value), value);  // NaN
    store(value, 0, to);
  };
  for_vectors(
      n, [&](std::int64_t i) HWY_ATTR { vectors(x + i, y + i); },
      [&](std::int64_t i) HWY_ATTR { one(x + i, y + i, vectors); });
}

void dequantize(Stream, std::int64_t n, Quantization q, const std::uint8_t* x, float* y) {
  const auto vectors = [&](const std::uint8_t* from, float* to) HWY_ATTR {
    const Floats d;
    const auto difference = hn::Sub(load(from), hn::Set(d, static_cast<float>(q.zero)));  // exact
    hn::StoreU(hn::Mul(difference, hn::Set(d, q.scale)), d, to);
  };
  for_vectors(
      n, [&](std::int64_t i) HWY_ATTR { vectors(x + i, y + i); },
      [&](std::int64_t i) HWY_ATTR { one(x + i, y + i, vectors); });
}

void add(Stream, std::int64_t n, const std::uint8_t* a, float factor_a, const std::uint8_t* b, float factor_b,
         float offset, float low, std::uint8_t* y) {
  const auto vectors = [&](const std::uint8_t* left, const std::uint8_t* right, std::uint8_t* to) HWY_ATTR {
    const Floats d;
    const auto sum = hn::MulAdd(load(right), hn::Set(d, factor_b), hn::Set(d, offset));
    store(hn::MulAdd(load(left), hn::Set(d, factor_a), sum), low, to);
  };
  for_vectors(
      n, [&](std::int64_t i) HWY_ATTR { vectors(a + i, b + i, y + i); },
      [&](std::int64_t i) HWY_ATTR {
        HWY_ALIGN std::uint8_t left[kLanes] = {a[i]}, right[kLanes] = {b[i]}, out[kLanes];
        vectors(left, right, out);
        y[i] = out[0];
      });
}

void lookup(Stream, std::int64_t rows, std::int64_t channels, const std::uint8_t* table, const std::uint8_t* x,
            std::int64_t stride, std::int64_t begin, std::uint8_t* y) {
  bool same = true;
  for (int i = 0; i < 256; ++i) same = same && table[i] == i;
  parallel_for(rows, std::max<std::int64_t>(kGrain / std::max<std::int64_t>(channels, 1), 1),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row) {
                   const std::uint8_t* const from = x + row * channels;
                   std::uint8_t* const to = y + row * stride + begin;
                   if (same)
                     std::memcpy(to, from, static_cast<std::size_t>(channels));
                   else
                     for (std::int64_t j = 0; j < channels; ++j) to[j] = table[from[j]];
                 }
               });
}

/// y = max(y, x) over channels.
HWY_INLINE void keep_most(std::int64_t channels, const std::uint8_t* x, std::uint8_t* y) {
  const hn::ScalableTag<std::uint8_t> d;
  constexpr std::int64_t kStep = hn::MaxLanes(d);
  std::int64_t c = 0;
  for (; c + kStep <= channels; c += kStep) hn::StoreU(hn::Max(hn::LoadU(d, y + c), hn::LoadU(d, x + c)), d, y + c);
  for (; c < channels; ++c) y[c] = std::max(y[c], x[c]);
}

void max_pool(Stream, const Pool2dGeometry& g, const std::uint8_t* x, std::uint8_t* y) {
  const std::int64_t rows = g.p(), columns = g.q();
  parallel_for(g.n * rows, 1, [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t row = first; row < last; ++row) {
      const std::uint8_t* const image = x + row / rows * g.h * g.w * g.c;
      const std::int64_t top = row % rows * g.stride_h - g.pad_h;
      for (std::int64_t q = 0; q < columns; ++q) {
        const std::int64_t left = q * g.stride_w - g.pad_w;
        std::uint8_t* const to = y + (row * columns + q) * g.c;
        std::memset(to, 0, static_cast<std::size_t>(g.c));
        for (std::int64_t h = std::max<std::int64_t>(top, 0); h < std::min(top + g.kernel_h, g.h); ++h)
          for (std::int64_t w = std::max<std::int64_t>(left, 0); w < std::min(left + g.kernel_w, g.w); ++w)
            keep_most(g.c, image + (h * g.w + w) * g.c, to);
      }
    }
  });
}

void mean(Stream, std::int64_t n, std::int64_t pixels, std::int64_t c, Quantization q, const std::uint8_t* x,
          float* y) {
  const float factor = q.scale / static_cast<float>(pixels);
  const std::int64_t step = 256, shares = (c + step - 1) / step;
  parallel_tasks(n * shares, [&](std::int64_t task, int) HWY_ATTR {
    const std::int64_t image = task / shares, begin = task % shares * step, count = std::min(step, c - begin);
    std::array<std::int32_t, 256> sums;
    sums.fill(static_cast<std::int32_t>(-pixels * q.zero));
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      const std::uint8_t* const from = x + (image * pixels + pixel) * c + begin;
      for (std::int64_t j = 0; j < count; ++j) sums[static_cast<std::size_t>(j)] += from[j];
    }
    for (std::int64_t j = 0; j < count; ++j)
      y[image * c + begin + j] = static_cast<float>(sums[static_cast<std::size_t>(j)]) * factor;
  });
}

/// Columns by the thread: a block of them is read twice while it is in the cache, if it is small.
void round_weight(Stream, std::int64_t rows, std::int64_t out, const float* x, float* y) {
  constexpr std::int64_t kColumns = 64;
  constexpr float kMost = 127;
  parallel_tasks((out + kColumns - 1) / kColumns, [&](std::int64_t task, int) HWY_ATTR {
    const std::int64_t begin = task * kColumns, count = std::min(kColumns, out - begin);
    std::array<float, kColumns> scale = {};
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < count; ++j) {
        const auto at = static_cast<std::size_t>(j);
        scale[at] = std::max(scale[at], std::abs(x[i * out + begin + j]));
      }
    for (float& each : scale) each = each > 0 ? each / kMost : 1;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < count; ++j) {
        const float unit = scale[static_cast<std::size_t>(j)];
        y[i * out + begin + j] = std::nearbyint(x[i * out + begin + j] / unit) * unit;
      }
  });
}

}  // namespace

/// The table of a target: these, and the convolution's entries.
Int8Kernels int8_elements(const Int8Convolution& convolution) {
  return {.packed_bytes = convolution.packed_bytes,
          .workspace_bytes = convolution.workspace_bytes,
          .pack = convolution.pack,
          .conv = convolution.conv,
          .quantize = quantize,
          .dequantize = dequantize,
          .add = add,
          .lookup = lookup,
          .max_pool = max_pool,
          .mean = mean,
          .round_weight = round_weight};
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
