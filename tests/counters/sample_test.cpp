// Counts of a sample of a launch's blocks, against those of all: at two sizes each, so that what grows with a size is
// seen to grow.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/simulator.h"
#include "tests/counters/counted.h"
#include "tests/counters/work.h"

namespace retort {
namespace {

using simt::Counts;
using simt::KernelCounts;

/// While it lives, launches are sampled.
class Sampling {
 public:
  Sampling(std::int64_t blocks, int compute_capability) {
    simt::sample_launches(blocks);
    simt::set_compute_capability(compute_capability);
  }
  ~Sampling() {
    simt::sample_launches(0);
    simt::set_compute_capability(80);
  }
  Sampling(const Sampling&) = delete;
  Sampling& operator=(const Sampling&) = delete;
};

std::vector<KernelCounts> kernels_of(const std::function<void()>& work) { return test::by_name(test::counted(work)); }

struct Number {
  const char* name;
  double of, of_sample;
};
std::vector<Number> numbers(const Counts& a, const Counts& b) {
  const auto number = [](const char* name, std::uint64_t whole, std::uint64_t sample) {
    return Number{name, static_cast<double>(whole), static_cast<double>(sample)};
  };
  return {number("sectors loaded", a.load.sectors, b.load.sectors),
          number("sectors stored", a.store.sectors, b.store.sectors),
          number("sectors copied", a.copy.sectors, b.copy.sectors),
          number("lines loaded", a.load.lines, b.load.lines),
          number("distinct sectors loaded", a.unique_load_sectors, b.unique_load_sectors),
          number("distinct sectors stored", a.unique_store_sectors, b.unique_store_sectors),
          number("sectors blocks load", a.block_load_sectors, b.block_load_sectors),
          number("wavefronts of loads", a.shared_load.wavefronts, b.shared_load.wavefronts),
          number("wavefronts of stores", a.shared_store.wavefronts, b.shared_store.wavefronts),
          number("wavefronts of copies", a.shared_copy.wavefronts, b.shared_copy.wavefronts),
          number("flops", a.tensor_flops_16, b.tensor_flops_16)};
}

struct Scaled {
  const char* name;
  std::function<void(std::int64_t)> run;  ///< of so many images
};
const Scaled kScaled[] = {
    {"3x3",
     [](std::int64_t n) {
       test::convolution({.n = n, .h = 16, .w = 16, .c = 64, .k = 128, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1});
     }},
    {"1x1", [](std::int64_t n) { test::convolution({.n = n, .h = 16, .w = 16, .c = 64, .k = 64}); }},
    {"batch norm", [](std::int64_t n) { test::batch_norm({.rows = n * 16 * 16, .channels = 256}); }},
    {"max pool",
     [](std::int64_t n) {
       test::max_pool({.n = n,
                       .h = 28,
                       .w = 28,
                       .c = 64,
                       .kernel_h = 3,
                       .kernel_w = 3,
                       .stride_h = 2,
                       .stride_w = 2,
                       .pad_h = 1,
                       .pad_w = 1});
     }},
    {"optimizer", [](std::int64_t n) { test::optimizers(n * 64 * 256); }},
};

}  // namespace

TEST_CASE("counters: a sample of a launch's blocks counts for all of them") {
  // Blocks at the edge of an image do less, and of 16 drawn some are: where a third of the blocks are, as in these
  // small images, their share is off by a few in a hundred. Of a launch that has no more blocks all run.
  constexpr double kSlack = 0.1;
  constexpr std::int64_t kBlocks = 16;
  double worst = 0;
  for (const Scaled& scaled : kScaled)
    for (const std::int64_t n : {8, 16}) {
      const auto work = [&] { scaled.run(n); };
      const std::vector<KernelCounts> whole = kernels_of(work);
      const Sampling sampling(kBlocks, 80);
      const std::vector<KernelCounts> sample = kernels_of(work);
      REQUIRE(whole.size() == sample.size());
      for (std::size_t i = 0; i < whole.size(); ++i) {
        CAPTURE(std::string(scaled.name));
        CAPTURE(n);
        CAPTURE(whole[i].kernel);
        CHECK(whole[i].kernel == sample[i].kernel);
        for (const Number& number : numbers(whole[i].counts, sample[i].counts)) {
          CAPTURE(std::string(number.name));
          CAPTURE(number.of);
          CAPTURE(number.of_sample);
          const double off = number.of > 0 ? std::fabs(number.of_sample / number.of - 1) : number.of_sample;
          worst = std::max(worst, off);
          CHECK(off <= kSlack);
        }
      }
    }
  MESSAGE("a sample is off by at most ", 100 * worst, " %");
}

TEST_CASE("counters: on compute capability 9.0 bulk copies and stores, and products, are counted") {
  const Conv2dGeometry g = {.n = 2, .h = 16, .w = 16, .c = 64, .k = 128};
  const std::int64_t pixels = g.n * g.h * g.w;
  const Sampling sampling(1000, 90);  // more than there are blocks: all run
  const std::vector<KernelCounts> kernels = kernels_of([&] { test::convolution(g); });
  const auto of = [&](const std::string& name) -> const Counts& {
    for (const KernelCounts& kernel : kernels)
      if (kernel.kernel == name) return kernel.counts;
    FAIL("no ", name);
    return kernels.front().counts;
  };
  const auto sectors = [](std::int64_t elements, std::int64_t bytes) {
    return static_cast<std::uint64_t>(elements * bytes) / simt::kSectorBytes;
  };
  const std::uint64_t x = sectors(pixels * g.c, 2), y = sectors(pixels * g.k, 2), w = sectors(g.c * g.k, 2);
  const Counts& fprop = of("hopper_fprop");
  CHECK(fprop.unique_load_sectors == x + w);
  CHECK(fprop.unique_store_sectors == y);
  CHECK(fprop.store.sectors == y);
  CHECK(fprop.tensor_flops_16 == static_cast<std::uint64_t>(2 * g.macs()));
  CHECK(of("hopper_dgrad").unique_load_sectors == y + w);
  CHECK(of("hopper_dgrad").unique_store_sectors == x);
  CHECK(of("hopper_wgrad").unique_load_sectors == x + y);
}

}  // namespace retort
