// Gathers patches into panels (see patches.h). Included once per target, after <hwy/highway.h>.
#if defined(RETORT_KERNELS_CPU_PATCHES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_PATCHES_INL_H_
#undef RETORT_KERNELS_CPU_PATCHES_INL_H_
#else
#define RETORT_KERNELS_CPU_PATCHES_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

#include "kernels/cpu/conv/patches.h"
#include "kernels/cpu/gemm/block_gemm.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Elements of a row that are contiguous in the image, relative to pixel (h, w) of the row's position.
struct Run {
  std::int64_t h, w;
  std::int64_t begin, end;  ///< in elements from that pixel's first channel
};

/// A run has an element at least.
template <class T>
inline constexpr std::int64_t kMostRuns = std::max(kBlockRows, kBlockDepth<T>);

/// The runs of elements [first, first + count); returns how many there are. Where neighbouring taps are neighbouring
/// pixels, a run spans a whole row of taps.
template <class T>
std::int64_t list_runs(const PatchGeometry<T>& g, std::int64_t first, std::int64_t count, Run* runs) {
  const bool joined = g.channels == g.pixel_stride && g.tap_step_w == 1;
  const std::int64_t length = joined ? g.taps_w * g.channels : g.channels;
  std::int64_t total = 0;
  for (std::int64_t element = first; element < first + count; ++total) {
    const std::int64_t index = element / length, begin = element % length;
    const std::int64_t end = std::min(length, begin + first + count - element);
    const std::int64_t row = joined ? index : index / g.taps_w, column = joined ? 0 : index % g.taps_w;
    runs[total] = {g.offset_h + row * g.tap_step_h, g.offset_w + column * g.tap_step_w, begin, end};
    element += end - begin;
  }
  return total;
}

/// What elements are copied as.
template <class T>
using Lane = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;

/// Copies count elements; writes whole vectors, so up to a vector past the end of target.
template <class T>
HWY_INLINE void copy_run(const T* from, std::int64_t count, T* to) {
  const hn::ScalableTag<Lane<T>> d;
  constexpr std::int64_t kLanes = hn::MaxLanes(d);
  const auto* source = reinterpret_cast<const Lane<T>*>(from);
  auto* target = reinterpret_cast<Lane<T>*>(to);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, source + i), d, target + i);
  if (i == count) return;
  if constexpr (sizeof(T) == 2 && HWY_TARGET != HWY_AVX3) {
    // Masked loads of 16-bit lanes read past the end here.
    std::memcpy(target + i, source + i, static_cast<std::size_t>(count - i) * sizeof(T));
  } else {
    hn::StoreU(hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count - i)), d, source + i), d, target + i);
  }
}

template <class T>
void clear_run(std::int64_t count, T* to) {
  std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(count) * sizeof(T));
}

/// The rows at positions (p, q) to (p, q + rows - 1), whose runs all lie inside the image's columns.
template <class T>
void copy_inside(const PatchGeometry<T>& g, const T* image, std::int64_t p, std::int64_t q, std::int64_t rows,
                 std::span<const Run> runs, T* target, std::int64_t stride) {
  const T* sources[kMostRuns<T>];  // of the first row; null where the run lies above or below the image
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::int64_t h = p * g.stride_h + runs[r].h, w = q * g.stride_w + runs[r].w;
    sources[r] = h < 0 || h >= g.h ? nullptr : image + (h * g.w + w) * g.pixel_stride + runs[r].begin;
  }
  const std::int64_t step = g.stride_w * g.pixel_stride;
  for (std::int64_t i = 0; i < rows; ++i, target += stride) {
    T* out = target;
    for (std::size_t r = 0; r < runs.size(); ++r) {
      const std::int64_t count = runs[r].end - runs[r].begin;
      if (sources[r] != nullptr)
        copy_run(sources[r] + i * step, count, out);
      else
        clear_run(count, out);
      out += count;
    }
  }
}

/// The row at position (p, q), with zeros outside the image: few rows, and small code for them.
template <class T>
void copy_at_border(const PatchGeometry<T>& g, const T* image, std::int64_t p, std::int64_t q,
                    std::span<const Run> runs, T* out) {
  for (const Run& run : runs) {
    const std::int64_t count = run.end - run.begin;
    const std::int64_t h = p * g.stride_h + run.h, w = q * g.stride_w + run.w;
    clear_run(count, out);
    if (h >= 0 && h < g.h) {
      // The elements inside the image row: [0, g.w * pixel_stride) seen from pixel w.
      const std::int64_t begin = std::clamp(-w * g.pixel_stride, run.begin, run.end);
      const std::int64_t end = std::clamp((g.w - w) * g.pixel_stride, begin, run.end);
      if (end > begin)
        std::memcpy(static_cast<void*>(out + begin - run.begin), image + (h * g.w + w) * g.pixel_stride + begin,
                    static_cast<std::size_t>(end - begin) * sizeof(T));
    }
    out += count;
  }
}

/// target[i * stride + e] = element first_element + e of row first_row + i, 0 outside the image; i < rows, e <
/// elements. Rows are written in ascending order, and up to a vector of 64 bytes past the end of each.
template <class T>
void gather_patches(const PatchGeometry<T>& g, std::int64_t first_row, std::int64_t rows, std::int64_t first_element,
                    std::int64_t elements, T* target, std::int64_t stride) {
  if (g.is_matrix()) {
    const Run run{0, 0, first_element, first_element + elements};
    return copy_inside(g, g.x, 0, first_row, rows, {&run, 1}, target, stride);
  }
  Run listed[kMostRuns<T>];
  const std::span<const Run> runs(listed, static_cast<std::size_t>(list_runs(g, first_element, elements, listed)));
  // Columns [inside, outside) of the output see pixels of the image alone.
  const std::int64_t step = g.stride_w * g.pixel_stride;
  std::int64_t inside = 0, outside = g.q;
  for (const Run& run : runs) {
    const std::int64_t first = run.w * g.pixel_stride + run.begin, last = (run.w - g.w) * g.pixel_stride + run.end;
    if (first < 0) inside = std::max(inside, (-first + step - 1) / step);
    outside = std::min(outside, last > 0 ? 0 : -last / step + 1);
  }
  std::int64_t q = first_row % g.q, p = first_row / g.q % g.p;
  const T* image = g.x + first_row / g.q / g.p * g.h * g.w * g.pixel_stride;
  for (std::int64_t done = 0; done < rows;) {
    std::int64_t together = 1;
    if (q < inside || q >= outside) {
      copy_at_border(g, image, p, q, runs, target);
    } else {
      together = std::min(outside - q, rows - done);
      copy_inside(g, image, p, q, together, runs, target, stride);
    }
    done += together, q += together, target += together * stride;
    if (q == g.q) {
      q = 0;
      if (++p == g.p) {
        p = 0;
        image += g.h * g.w * g.pixel_stride;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_KERNELS_CPU_PATCHES_INL_H_
