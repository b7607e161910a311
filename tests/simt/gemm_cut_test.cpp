// How products are cut into tiles and splits.
#include "kernels/cuda/gemm_cut.h"

#include <doctest/doctest.h>

namespace retort::simt {
namespace {

constexpr std::int64_t kSliceDepth = 32;  // of bf16

std::int64_t slices_of(std::int64_t depth) { return (depth + kSliceDepth - 1) / kSliceDepth; }

TEST_CASE("a cut covers the depth, with no empty part and at least 16 slices in each of several") {
  for (const std::int64_t m : {1, 64, 65, 576, 4608})
    for (const std::int64_t n : {8, 64, 65, 512, 2048})
      for (const std::int64_t groups : {1, 32})
        for (const std::int64_t slices : {0, 1, 15, 31, 32, 33, 1000, 25088}) {
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(groups);
          CAPTURE(slices);
          const Cut cut = choose_cut(m, n, groups, slices);
          CHECK(cut.splits * cut.per_split >= slices);
          CHECK((cut.splits - 1) * cut.per_split < std::max<std::int64_t>(slices, 1));
          if (cut.splits > 1) CHECK(cut.per_split >= 16);
        }
}

TEST_CASE("the filters' gradients of ResNet-50 at batch 256 get the largest tile that they fill") {
  struct Layer {
    std::int64_t extent, m, n;  // of the output; r s c; k
  };
  for (const Layer& layer :
       {Layer{56, 256, 128}, Layer{28, 1152, 128}, Layer{28, 128, 512}, Layer{28, 512, 128}, Layer{14, 2304, 256},
        Layer{14, 256, 1024}, Layer{14, 1024, 256}, Layer{7, 4608, 512}, Layer{7, 512, 2048}, Layer{7, 2048, 512}}) {
    CAPTURE(layer.m);
    CAPTURE(layer.n);
    const Cut cut = choose_cut(layer.m, layer.n, 1, slices_of(256 * layer.extent * layer.extent));
    CHECK(cut.tile == Cut::Tile::large);
    const std::int64_t blocks = (layer.m + 127) / 128 * ((layer.n + 127) / 128) * cut.splits;
    CHECK(blocks >= 132);  // no multiprocessor of an H200 is idle
  }
  CHECK(choose_cut(576, 64, 1, slices_of(256 * 56 * 56)).tile == Cut::Tile::narrow);
  CHECK(choose_cut(64, 256, 1, slices_of(256 * 56 * 56)).tile == Cut::Tile::small);
}

TEST_CASE("a product with few tiles and little depth takes small tiles, one with many tiles large ones") {
  CHECK(choose_cut(256, 256, 1, 8).tile == Cut::Tile::small);
  CHECK(choose_cut(8192, 8192, 1, 8).tile == Cut::Tile::large);
  CHECK(choose_cut(8192, 8192, 1, 8).splits == 1);
}

}  // namespace
}  // namespace retort::simt
