// The blocked product of bf16 operands. Depths are taken in pairs (see microkernel_bf16-inl.h); the last of an odd
// number is paired with a zero.
//
// A sum runs over the whole depth in one chain of f32: between two blocks of depths it waits in f32, in C itself or,
// where C is bf16, in scratch. So its bits do not depend on how the depth is cut, and a product of few rows can take
// other blocks than a large one.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/cpu/range.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/block_gemm_bf16.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/gemm/block_gemm-inl.h"
#include "kernels/cpu/gemm/microkernel-inl.h"
#include "kernels/cpu/gemm/microkernel_bf16-inl.h"
#include "kernels/cpu/simd/transpose-inl.h"

#ifndef RETORT_BLOCK_GEMM_BF16_CONSTANTS_
#define RETORT_BLOCK_GEMM_BF16_CONSTANTS_
namespace retort::cpu {
namespace {

/// How B is cut: pairs of a block of depths, columns packed at a time, and pairs that fit what is packed.
struct Blocking {
  std::int64_t pairs, cols, capacity;
};
constexpr std::int64_t kBlockPairs = kBlockDepth<BFloat16> / 2;
constexpr std::int64_t kMaxPacked = kBlockPairs * 512;  // pairs: half of a 1 MiB L2 cache
constexpr Blocking kRowMajor = {kBlockPairs, 512, kMaxPacked};
constexpr Blocking kDepthMajor = {kBlockPairs, 256, kMaxPacked / 2};  // the other half is A's panel
// Up to this many rows the product is as fast as B is read, which is fastest in long rows.
constexpr std::int64_t kFewRows = 28;
constexpr Blocking kFew = {32, 2048, 32 * 2048};

constexpr std::int64_t kRowStride = kPanelRowStride<BFloat16>;
constexpr std::int64_t kStagedDepths = 16;
constexpr std::int64_t kMaxRows = kBlockRows + 16;  // of a depth-major panel: whole vectors are written
constexpr std::int64_t kPanelElements = 2 * kBlockPairs * kMaxRows;
constexpr std::int64_t kStagedElements = kStagedDepths * (kBlockRows + kPanelSlack<BFloat16>);
constexpr std::int64_t kSums = std::max(kTaskRows * kRowMajor.cols, kFewRows* kFew.cols);
constexpr std::size_t kAlignment = 64;
static_assert(kFewRows * kRowStride <= kPanelElements);
static_assert(kPanelElements * sizeof(BFloat16) % kAlignment == 0);
static_assert(kStagedElements * sizeof(BFloat16) % kAlignment == 0);

/// A thread's scratch, cut up.
struct Scratch {
  explicit Scratch(void* memory)
      : panel(static_cast<BFloat16*>(memory)),
        staged(panel + kPanelElements),
        packed(reinterpret_cast<std::uint32_t*>(staged + kStagedElements)),
        sums(reinterpret_cast<float*>(packed + kMaxPacked)),
        addresses(reinterpret_cast<void**>(sums + kSums)),
        sum_rows(reinterpret_cast<float**>(addresses + kBlockRows)) {}
  static constexpr std::size_t kBytes = (kPanelElements + kStagedElements) * sizeof(BFloat16) +
                                        kMaxPacked * sizeof(std::uint32_t) + kSums * sizeof(float) +
                                        2 * kBlockRows * sizeof(void*);
  BFloat16* panel;
  BFloat16* staged;  ///< depths of a depth-major panel before they are paired
  std::uint32_t* packed;
  float* sums;
  void** addresses;  ///< of C's rows
  float** sum_rows;
};
static_assert(Scratch::kBytes % sizeof(void*) == 0);

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE HalfBits<U32> load_bits(const BFloat16* from, std::int64_t count) {
  const HalfTag<U32> half;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(half, bits_at(from));
  return load_some(half, from, static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
}

/// Pairs up `depth` stored rows of `cols` elements: target [depth / 2, step], of whose rows `width` elements are
/// written, zeros beyond cols.
void pair_rows(const BFloat16* source, std::int64_t stride, std::int64_t depth, std::int64_t cols, std::int64_t width,
               std::uint32_t* HWY_RESTRICT target, std::int64_t step) {
  const U32 d;
  for (std::int64_t l = 0; l < depth; l += 2, source += 2 * stride, target += step)
    for (std::int64_t j = 0; j < width; j += kLanes) {
      Pairs pairs = hn::PromoteTo(d, load_bits(source + j, cols - j));
      if (l + 1 < depth)
        pairs = hn::Or(pairs, hn::ShiftLeft<16>(hn::PromoteTo(d, load_bits(source + stride + j, cols - j))));
      hn::StoreU(pairs, d, target + j);
    }
}

/// The same from `cols` stored columns of `depth` elements each, in which pairs lie side by side.
void pair_columns(const BFloat16* source, std::int64_t stride, std::int64_t depth, std::int64_t cols,
                  std::int64_t width, std::uint32_t* HWY_RESTRICT target) {
  const std::int64_t pairs = depth / 2;
  const std::int64_t blocks = stride % 2 == 0 ? pairs / kLanes * kLanes : 0;  // the transposition counts in pairs
  const std::int64_t whole_cols = cols / kTransposeCols * kTransposeCols;
  for (std::int64_t l = 0; l < blocks; l += kLanes)
    for (std::int64_t j = 0; j < whole_cols; j += kTransposeCols)
      transpose_block(U32(), reinterpret_cast<const std::uint32_t*>(source + j * stride + 2 * l), stride / 2, width,
                      target + l * width + j);
  for (std::int64_t l = 0; l < divide_up(depth, 2); ++l)
    for (std::int64_t j = l < blocks ? whole_cols : 0; j < width; ++j) {
      BFloat16 pair[2] = {BFloat16(0.0f), BFloat16(0.0f)};
      if (j < cols)
        std::memcpy(pair, source + j * stride + 2 * l,
                    static_cast<std::size_t>(std::min<std::int64_t>(2, depth - 2 * l)) * sizeof(BFloat16));
      target[l * width + j] = load_pair(pair);
    }
}

/// Where row l of B lies; neighbouring columns are b.transposed ? b.stride : 1 apart.
const BFloat16* row_of(const StoredB<BFloat16>& b, std::int64_t l) {
  const std::int64_t run = b.run_length > 0 ? l / b.run_length : 0, in_run = l - run * b.run_length;
  return b.data + run / b.inner_runs * b.outer_step + run % b.inner_runs * b.inner_step +
         in_run * (b.transposed ? 1 : b.stride);
}

/// The same element by element: runs of odd length, whose pairs straddle them.
void pair_elements(const StoredB<BFloat16>& b, std::int64_t first, std::int64_t depth, std::int64_t col,
                   std::int64_t cols, std::int64_t width, std::uint32_t* target) {
  const std::int64_t step = b.transposed ? b.stride : 1;
  for (std::int64_t l = first; l < first + depth; l += 2, target += width) {
    const BFloat16* const row = row_of(b, l) + col * step;
    const BFloat16* const next = l + 1 < first + depth ? row_of(b, l + 1) + col * step : nullptr;
    for (std::int64_t j = 0; j < width; ++j) {
      const std::uint32_t lower = j < cols ? row[j * step].bits : 0;
      const std::uint32_t upper = j < cols && next != nullptr ? next[j * step].bits : 0;
      target[j] = lower | upper << 16;
    }
  }
}

/// Packs rows [first, first + depth) of columns [col, col + cols), first even.
void pack_sliver(const StoredB<BFloat16>& b, std::int64_t first, std::int64_t depth, std::int64_t col,
                 std::int64_t cols, std::int64_t width, std::uint32_t* target) {
  if (!b.transposed && b.run_length == 0)
    return pair_rows(row_of(b, first) + col, b.stride, depth, cols, width, target, width);
  if (!b.transposed || b.run_length % 2 != 0) return pair_elements(b, first, depth, col, cols, width, target);
  for (const std::int64_t end = first + depth; first < end;) {
    const std::int64_t in_run = b.run_length > 0 ? b.run_length - first % b.run_length : end - first;
    const std::int64_t count = std::min(end - first, in_run);
    pair_columns(row_of(b, first) + col * b.stride, b.stride, count, cols, width, target);
    first += count;
    target += divide_up(count, 2) * width;
  }
}

/// Loads rows [row, row + rows) of depths [depth, depth + depths) of A. Returns the number of elements from a pair of a
/// row to the next pair.
template <class Out>
std::int64_t load_pairs(const BlockGemm<BFloat16, Out>& product, std::int64_t row, std::int64_t rows,
                        std::int64_t depth, std::int64_t depths, const Scratch& scratch) {
  if (product.layout == PanelLayout::row_major) {
    product.load_panel({row, rows, depth, depths, scratch.panel, kRowStride});
    if (depths % 2 != 0)
      for (std::int64_t i = 0; i < rows; ++i) scratch.panel[i * kRowStride + depths] = BFloat16(0.0f);
    return 2;
  }
  const std::int64_t width = divide_up(rows, kLanes) * kLanes, stride = rows + kPanelSlack<BFloat16>;
  auto* target = reinterpret_cast<std::uint32_t*>(scratch.panel);
  for (std::int64_t done = 0; done < depths; done += kStagedDepths, target += kStagedDepths / 2 * width) {
    const std::int64_t count = std::min(kStagedDepths, depths - done);
    product.load_panel({row, rows, depth + done, count, scratch.staged, stride});
    pair_rows(scratch.staged, stride, count, rows, width, target, width);
  }
  return 2 * width;
}

/// The block of B that is packed at a time: blocks of depths [first, last) of columns [begin, end), slivers of a block
/// one after the other.
struct PackedB {
  std::int64_t first, last, begin, end;
};

/// One call of block_gemm.
template <class Arithmetic, class Out>
class PairGemm {
 public:
  PairGemm(const BlockGemm<BFloat16, Out>& product, const Range2d& range, const Scratch& scratch)
      : product_(product),
        range_(range),
        scratch_(scratch),
        row_major_(product.layout == PanelLayout::row_major),
        blocking_(!row_major_                                         ? kDepthMajor
                  : product.rows <= kFewRows && !product.b.transposed ? kFew
                                                                      : kRowMajor),
        blocks_(divide_up(divide_up(product.depth, 2), blocking_.pairs)) {}

  void run() const {
    const std::int64_t block_pairs = divide_up(divide_up(product_.depth, 2), blocks_);
    const std::int64_t end = range_.col + range_.cols;
    for (std::int64_t col = range_.col; col < end; col += blocking_.cols) {
      const std::int64_t cols = std::min(blocking_.cols, end - col);
      const std::int64_t group = blocking_.capacity / (block_pairs * divide_up(cols, kLanes) * kLanes);
      for (std::int64_t first = 0; first < blocks_; first += group) {
        const PackedB b{first, std::min(first + group, blocks_), col, col + cols};
        pack(b);
        Prefetch next_b;
        if (b.last < blocks_) {
          const std::int64_t from = begin(b.last), to = begin(std::min(b.last + group, blocks_));
          next_b = prefetch_b(product_, from, to - from, col, cols,
                              divide_up(range_.rows, kTileRows) * (b.last - b.first) * divide_up(cols, kSliver));
        }
        run_rows(b, next_b);
      }
    }
  }

 private:
  /// Depths [begin, end) of block l; all begin at even depths.
  std::int64_t begin(std::int64_t l) const {
    return std::min(product_.depth, 2 * (divide_up(product_.depth, 2) * l / blocks_));
  }
  std::int64_t depths(std::int64_t l) const { return begin(l + 1) - begin(l); }

  static std::int64_t sliver_width(std::int64_t cols) { return cols <= kLanes ? kLanes : kSliver; }

  void pack(const PackedB& b) const {
    std::uint32_t* packed = scratch_.packed;
    for (std::int64_t l = b.first; l < b.last; ++l)
      for (std::int64_t j = b.begin; j < b.end; j += kSliver) {
        const std::int64_t cols = std::min(kSliver, b.end - j), width = sliver_width(cols);
        pack_sliver(product_.b, begin(l), depths(l), j, cols, width, packed);
        packed += width * divide_up(depths(l), 2);
      }
  }

  /// Multiplies all rows of the range with a packed block of B. Row-major panels are loaded one tile at a time and stay
  /// in the L1 cache. Depth-major ones, whose loading is cheaper in long runs of rows, stay in the L2 cache.
  void run_rows(const PackedB& b, Prefetch& next_b) const {
    const std::int64_t row_blocks = divide_up(range_.rows, row_major_ ? kTileRows : kBlockRows);
    for (std::int64_t i = 0; i < row_blocks; ++i) {
      const std::int64_t first = range_.rows * i / row_blocks, rows = range_.rows * (i + 1) / row_blocks - first;
      locate(first, rows, b);
      const std::int64_t panels = divide_up(rows, kTileRows), tiles = panels * divide_up(b.end - b.begin, kSliver);
      Prefetch next_residual;  // when there is no next block of B
      if (b.last == blocks_ && i < row_blocks - 1) {
        const std::int64_t next = range_.rows * (i + 1) / row_blocks;
        next_residual = prefetch_residual(product_, range_.row + next, range_.rows * (i + 2) / row_blocks - next,
                                          b.begin, b.end - b.begin, tiles * (b.last - b.first));
      }
      const std::uint32_t* packed = scratch_.packed;
      for (std::int64_t l = b.first; l < b.last; ++l) {
        const std::int64_t step = load_pairs(product_, range_.row + first, rows, begin(l), depths(l), scratch_);
        const bool last = l == b.last - 1;
        Prefetch next_a;
        if (!last || i < row_blocks - 1) {
          const std::int64_t row_block = last ? i + 1 : i, block = last ? b.first : l + 1;
          const std::int64_t next = range_.rows * row_block / row_blocks;
          next_a = prefetch_a(product_, range_.row + next, range_.rows * (row_block + 1) / row_blocks - next,
                              begin(block), depths(block), tiles);
        }
        for (std::int64_t panel = 0; panel < panels; ++panel) {
          const std::uint32_t* sliver = packed;
          for (std::int64_t col = b.begin; col < b.end; col += kSliver) {
            const std::int64_t cols = std::min(kSliver, b.end - col);
            run_panel(first, l, rows * panel / panels, rows * (panel + 1) / panels, step, sliver, col, cols,
                      PrefetchTurns(next_a, b.last == blocks_ ? next_residual : next_b, divide_up(depths(l), 2)));
            sliver += sliver_width(cols) * divide_up(depths(l), 2);
          }
        }
        packed += divide_up(b.end - b.begin, kLanes) * kLanes * divide_up(depths(l), 2);
      }
    }
  }

  /// Finds the rows of C, and where their sums wait between blocks of depths: in C itself if it is f32, else in
  /// scratch. Where the whole depth is packed at once, scratch holds one row block; else it holds all rows of the
  /// range.
  void locate(std::int64_t first, std::int64_t rows, const PackedB& b) const {
    Out** const addresses = reinterpret_cast<Out**>(scratch_.addresses);
    product_.locate_rows(range_.row + first, rows, addresses);
    const bool whole = b.first == 0 && b.last == blocks_;
    for (std::int64_t i = 0; i < rows; ++i) {
      if constexpr (std::is_same_v<Out, float>)
        scratch_.sum_rows[i] = addresses[i];
      else
        scratch_.sum_rows[i] = scratch_.sums + ((whole ? 0 : first) + i) * blocking_.cols - b.begin;
    }
  }

  /// Rows [begin, end) of the loaded row block that begins at `first`, against a sliver. Panels are balanced, so that
  /// none is tiny.
  void run_panel(std::int64_t first, std::int64_t l, std::int64_t begin, std::int64_t end, std::int64_t step,
                 const std::uint32_t* sliver, std::int64_t col, std::int64_t cols, const PrefetchTurns& ahead) const {
    const bool last = l == blocks_ - 1;
    PairTile tile = {.a = scratch_.panel + begin * (row_major_ ? kRowStride : 2),
                     .a_step = step,
                     .b = sliver,
                     .b_step = sliver_width(cols),
                     .pairs = divide_up(depths(l), 2),
                     .sums = scratch_.sum_rows + begin,
                     .col = col,
                     .cols = cols,
                     .resume = l > 0,
                     .c = nullptr,
                     .ahead = ahead};
    if (last) {
      tile.epilogue = {.scale = product_.epilogue.scale,
                       .bias = product_.epilogue.bias,
                       .relu = product_.epilogue.relu,
                       .ceiling = product_.epilogue.ceiling};
      if constexpr (std::is_same_v<Out, BFloat16>) {
        if (product_.epilogue.residual != nullptr) {
          tile.residual = product_.epilogue.residual + (range_.row + first + begin) * product_.residual_stride + col;
          tile.residual_stride = product_.residual_stride;
        }
        tile.c = reinterpret_cast<BFloat16**>(scratch_.addresses) + begin;
      }
    }
    const auto& narrow_tiles = row_major_ ? kPairTiles<Arithmetic, 1, kRowStride> : kPairTiles<Arithmetic, 1, 0>;
    const auto& wide_tiles = row_major_ ? kPairTiles<Arithmetic, 2, kRowStride> : kPairTiles<Arithmetic, 2, 0>;
    (cols <= kLanes ? narrow_tiles : wide_tiles)[static_cast<std::size_t>(end - begin - 1)](tile);
  }

  const BlockGemm<BFloat16, Out>& product_;
  const Range2d& range_;
  const Scratch& scratch_;
  bool row_major_;
  Blocking blocking_;
  std::int64_t blocks_;
};

}  // namespace

template <class Arithmetic, class Out>
void block_gemm(const BlockGemm<typename Arithmetic::Element, Out>& product, const Range2d& range, void* memory) {
  const auto address = (reinterpret_cast<std::uintptr_t>(memory) + kAlignment - 1) / kAlignment * kAlignment;
  const Scratch scratch(reinterpret_cast<void*>(address));
  PairGemm<Arithmetic, Out>(product, range, scratch).run();
}

template void block_gemm<WidenedBf16>(const BlockGemm<BFloat16>&, const Range2d&, void*);
template void block_gemm<WidenedBf16>(const BlockGemm<BFloat16, float>&, const Range2d&, void*);
#if HWY_TARGET == HWY_AVX3
template void block_gemm<NativeBf16>(const BlockGemm<BFloat16>&, const Range2d&, void*);
template void block_gemm<NativeBf16>(const BlockGemm<BFloat16, float>&, const Range2d&, void*);
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {

template <>
std::size_t block_gemm_scratch_bytes<BFloat16>() {
  return kAlignment + Scratch::kBytes;
}

}  // namespace retort::cpu
#endif  // HWY_ONCE
