#include "engine/core/random.h"
#include "kernels/threads.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace retort;

namespace {

using Words = std::array<std::uint32_t, 4>;

struct Moments {
  double mean, variance;
};

template <class Draw>
Moments moments(int n, const Draw& draw) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  return {sum / n, squares / n - sum / n * sum / n};
}

}  // namespace

TEST_CASE("philox4x32-10 gives Random123's known answers") {
  CHECK(philox4x32({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffff) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a stream is its words in order, and ahead() skips whole groups") {
  Random random(5, 6);
  std::vector<std::uint32_t> words;
  for (int i = 0; i < 12; ++i) words.push_back(random.bits());
  const Words first = philox4x32({0, 0, 6, 0}, 5), third = philox4x32({2, 0, 6, 0}, 5);
  CHECK(std::equal(first.begin(), first.end(), words.begin()));
  CHECK(std::equal(third.begin(), third.end(), words.begin() + 8));
  CHECK(Random(5, 6).ahead(2).bits() == words[8]);
}

TEST_CASE("streams differ by key, stream, purpose, index and name, and repeat") {
  const auto first = [](Random random) { return random.bits(); };
  CHECK(first(Random(1)) == first(Random(1)));
  CHECK(first(Random(1)) != first(Random(2)));
  CHECK(first(Random(1, 0)) != first(Random(1, 1)));
  CHECK(first(Random::of(1, "augment", 2, "cat/1.jpg")) == first(Random::of(1, "augment", 2, "cat/1.jpg")));
  CHECK(first(Random::of(1, "augment", 2, "cat/1.jpg")) != first(Random::of(2, "augment", 2, "cat/1.jpg")));
  CHECK(first(Random::of(1, "augment", 2, "cat/1.jpg")) != first(Random::of(1, "shuffle", 2, "cat/1.jpg")));
  CHECK(first(Random::of(1, "augment", 2, "cat/1.jpg")) != first(Random::of(1, "augment", 3, "cat/1.jpg")));
  CHECK(first(Random::of(1, "augment", 2, "cat/1.jpg")) != first(Random::of(1, "augment", 2, "cat/2.jpg")));
  Random parent(3);
  CHECK(first(parent.split()) != first(parent.split()));
}

TEST_CASE("hash_name tells names apart") {
  CHECK(hash_name("") != hash_name("a"));
  CHECK(hash_name("ab") != hash_name("ba"));
  CHECK(hash_name("a") == hash_name("a"));
}

// The bounds below are five standard errors of the statistic for that many draws.
TEST_CASE("uniform: in [0, 1), mean 1/2, variance 1/12") {
  Random random(1);
  double low = 1, high = 0;
  const Moments m = moments(100000, [&] {
    const double x = random.uniform();
    low = std::min(low, x);
    high = std::max(high, x);
    return x;
  });
  CHECK(low >= 0);
  CHECK(high < 1);
  CHECK(std::abs(m.mean - 0.5) <= 5 * std::sqrt(1.0 / 12 / 100000));
  CHECK(std::abs(m.variance - 1.0 / 12) <= 5 * std::sqrt(1.0 / 180 / 100000));
}

TEST_CASE("normal: mean 0, variance 1, 4.55% beyond two deviations") {
  Random random(2);
  int beyond = 0;
  const Moments m = moments(100000, [&] {
    const double x = random.normal();
    beyond += std::abs(x) > 2;
    return x;
  });
  CHECK(std::abs(m.mean) <= 5 * std::sqrt(1.0 / 100000));
  CHECK(std::abs(m.variance - 1) <= 5 * std::sqrt(2.0 / 100000));
  CHECK(std::abs(beyond / 100000.0 - 0.0455) <= 5 * std::sqrt(0.0455 / 100000));
}

TEST_CASE("below: every value of a small bound as often, none beyond") {
  Random random(3);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) CHECK(std::abs(count - 10000) <= 5 * std::sqrt(10000.0));
  CHECK(random.below(1) == 0);
}

TEST_CASE("beta(a): in [0, 1], mean 1/2, variance 1 / (4 (2a + 1)), for small and large a") {
  for (const double a : {0.001, 0.2, 1.0, 8.0}) {
    Random random(4);
    bool inside = true;
    const Moments m = moments(20000, [&] {
      const double x = random.beta(a);
      inside = inside && x >= 0 && x <= 1;
      return x;
    });
    CHECK(inside);
    const double variance = 1 / (4 * (2 * a + 1));
    CHECK(std::abs(m.mean - 0.5) <= 5 * std::sqrt(variance / 20000));
    // The squared distance from 1/2 is at most 1/4: its own variance is at most variance / 4.
    CHECK(std::abs(m.variance - variance) <= 5 * std::sqrt(variance / 4 / 20000));
  }
}

TEST_CASE("permutation: each number once, another order for another stream, every place reached") {
  auto order = permutation(100, Random(1));
  CHECK(order != permutation(100, Random(2)));
  CHECK(order == permutation(100, Random(1)));
  std::ranges::sort(order);
  for (std::int64_t i = 0; i < 100; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  CHECK(permutation(0, Random(1)).empty());
  std::vector<int> first(5);
  for (std::uint64_t seed = 0; seed < 5000; ++seed) ++first[static_cast<std::size_t>(permutation(5, Random(seed))[0])];
  for (const int count : first) CHECK(std::abs(count - 1000) <= 5 * std::sqrt(1000.0));
}

TEST_CASE("fills do not depend on the number of threads, nor f32 on f64 but for rounding") {
  const int threads = num_threads();
  for (const bool normal : {false, true}) {
    std::vector<Tensor> filled;
    for (const int count : {1, 2, 3}) {
      set_num_threads(count);
      filled.push_back(Tensor::empty({100001}));
      if (normal)
        fill_normal(filled.back(), 1, 2, Random(9));
      else
        fill_uniform(filled.back(), -3, 5, Random(9));
    }
    set_num_threads(threads);
    CHECK(std::ranges::equal(filled[0].span<float>(), filled[1].span<float>()));
    CHECK(std::ranges::equal(filled[0].span<float>(), filled[2].span<float>()));
    Tensor wide = Tensor::empty({100001}, DType::f64);
    normal ? fill_normal(wide, 1, 2, Random(9)) : fill_uniform(wide, -3, 5, Random(9));
    CHECK(std::ranges::equal(filled[0].span<float>(), wide.to(DType::f32).span<float>()));
  }
}

TEST_CASE("fill_normal has its mean and deviation, across the blocks it draws in") {
  Tensor x = Tensor::empty({200000});
  fill_normal(x, 3, 0.5, Random(11));
  int i = 0;
  const Moments m = moments(200000, [&] { return double{x.data<float>()[i++]}; });
  CHECK(std::abs(m.mean - 3) <= 5 * 0.5 / std::sqrt(200000.0));
  CHECK(std::abs(m.variance - 0.25) <= 5 * 0.25 * std::sqrt(2.0 / 200000));
  const auto values = x.span<float>();
  CHECK(std::adjacent_find(values.begin(), values.end()) == values.end());
}
