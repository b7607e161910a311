#include "engine/core/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "engine/core/check.h"
#include "kernels/threads.h"

namespace retort {
namespace {

/// The 64-bit finaliser of MurmurHash3: every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

/// log of a Gamma(a) draw, a > 0: Marsaglia & Tsang (2000) for a + 1, brought down by U^(1/a). In logarithms, because
/// for a small a the draw itself underflows.
double log_gamma_draw(double a, Random& random) {
  const double d = a + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double z = random.normal();
    const double v = std::pow(1 + c * z, 3);
    if (v <= 0 || std::log(1 - random.uniform()) >= z * z / 2 + d - d * v + d * std::log(v)) continue;
    return std::log(d * v) + std::log(1 - random.uniform()) / a;
  }
}

constexpr std::int64_t kFillBlock = 1 << 14;

using Pair = std::array<double, 2>;

/// Calls draw(random) for each two elements, in blocks that start at fixed places of the stream.
template <class T, class Draw>
void fill_as(Tensor& tensor, const Random& random, const Draw& draw) {
  T* const y = tensor.data<T>();
  const std::int64_t n = tensor.count(), blocks = (n + kFillBlock - 1) / kFillBlock;
  parallel_tasks(blocks, [&](std::int64_t block, int) {
    // No draw takes more than one group of four words.
    Random part = random.ahead(static_cast<std::uint64_t>(block * kFillBlock));
    const std::int64_t end = std::min(n, (block + 1) * kFillBlock);
    for (std::int64_t i = block * kFillBlock; i < end; i += 2) {
      const Pair two = draw(part);
      y[i] = static_cast<T>(two[0]);
      if (i + 1 < end) y[i + 1] = static_cast<T>(two[1]);
    }
  });
}

template <class Draw>
void fill(Tensor& tensor, const Random& random, const Draw& draw) {
  if (random.is_unused()) return;
  if (tensor.dtype() == DType::f64)
    fill_as<double>(tensor, random, draw);
  else
    fill_as<float>(tensor, random, draw);
}

/// Both normals that Box-Muller makes of two draws, in float: a VGG16 starts from 138 million of them.
Pair normal_pair(Random& random) {
  const auto u = static_cast<float>(random.uniform()), v = static_cast<float>(random.uniform());  // exact: 24 bits
  const float radius = std::sqrt(-2 * std::log(1 - u)), angle = 2 * std::numbers::pi_v<float> * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix(hash);
}

Random Random::of(std::uint64_t seed, std::string_view purpose, std::uint64_t index, std::string_view name) {
  return Random(mix(mix(seed) + hash_name(purpose)), mix(mix(index) + hash_name(name)));
}

Random Random::ahead(std::uint64_t groups) const {
  Random random(key_, stream_);
  random.counter_ = counter_ + groups;
  return random;
}

Random Random::unused() {
  Random random(0);
  random.unused_ = true;
  return random;
}

Random Random::split() {
  if (unused_) return *this;
  const std::uint64_t high = bits(), low = bits();
  return Random(mix(key_ + (high << 32 | low)), stream_);
}

std::uint32_t Random::bits() {
  if (left_ == 0) {
    words_ = philox4x32({static_cast<std::uint32_t>(counter_), static_cast<std::uint32_t>(counter_ >> 32),
                         static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                        key_);
    ++counter_;
    left_ = 4;
  }
  return words_[static_cast<std::size_t>(4 - left_--)];
}

double Random::uniform() { return (bits() >> 8) * 0x1p-24; }

std::uint64_t Random::below(std::uint64_t bound) {
  // The first 2^64 mod bound values are drawn again: what is left divides evenly.
  const std::uint64_t rest = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t high = bits(), low = bits(), value = high << 32 | low;
    if (value >= rest) return value % bound;
  }
}

double Random::normal() {
  // In float: uniform()'s 24 bits hold no more, and starting a large network takes a third of the time.
  const float radius = std::sqrt(-2 * std::log(1 - static_cast<float>(uniform())));
  return radius * std::cos(2 * std::numbers::pi_v<float> * static_cast<float>(uniform()));
}

double Random::beta(double a) {
  const double x = log_gamma_draw(a, *this), y = log_gamma_draw(a, *this);
  return 1 / (1 + std::exp(y - x));
}

std::vector<std::int64_t> permutation(std::int64_t n, Random random) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

void fill_uniform(Tensor& tensor, double low, double high, Random random) {
  fill(tensor, random, [low, high](Random& draws) {
    const double first = draws.uniform(low, high);
    return Pair{first, draws.uniform(low, high)};
  });
}

void fill_normal(Tensor& tensor, double mean, double std, Random random) {
  fill(tensor, random, [mean, std](Random& draws) {
    const Pair two = normal_pair(draws);
    return Pair{mean + std * two[0], mean + std * two[1]};
  });
}

}  // namespace retort
