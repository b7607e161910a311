// Which classes belong together, and what a generalist and specialists agree on.
#include "engine/distill/specialists.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/data/dustbin.h"
#include "tests/engine/named_dataset.h"

namespace retort {
namespace {

using Groups = std::vector<std::vector<std::int64_t>>;

/// Images of six classes of which 0 and 3, and 1, 2 and 5 are taken for each other.
Tensor confused_logits(std::int64_t rows) {
  static const std::vector<std::vector<std::int64_t>> alike = {{3}, {2, 5}, {1, 5}, {0}, {}, {1, 2}};
  Random random(7);
  Tensor logits = Tensor::empty({rows, 6});
  for (std::int64_t row = 0; row < rows; ++row) {
    float* z = logits.data<float>() + row * 6;
    for (int i = 0; i < 6; ++i) z[i] = static_cast<float>(random.normal() * 0.3);
    const std::int64_t label = row % 6;
    z[label] += 5;
    for (const std::int64_t other : alike[label]) z[other] += static_cast<float>(random.uniform(2, 6));
  }
  return logits;
}

std::vector<double> softmax(const float* z, std::int64_t n) {
  std::vector<double> p(z, z + n);
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value);
  for (double& value : p) value /= sum;
  return p;
}

Tensor random_logits(const Shape& shape, std::uint64_t seed) {
  Tensor logits = Tensor::empty(shape);
  fill_uniform(logits, -4, 4, Random(seed));
  return logits;
}

/// KL(p, q) + sum over m of KL(p_m, q), for one row.
double divergence(const std::vector<double>& p, const std::vector<SpecialistLogits>& specialists, std::int64_t row,
                  const std::vector<double>& q) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * std::log(p[i] / q[i]);
  for (const SpecialistLogits& one : specialists) {
    const auto width = static_cast<std::int64_t>(one.classes.size()) + 1;
    const auto own = softmax(one.logits.data<float>() + row * width, width);
    double rest = 1;
    for (std::size_t k = 0; k < one.classes.size(); ++k) {
      sum += own[k] * std::log(own[k] / q[one.classes[k]]);
      rest -= q[one.classes[k]];
    }
    sum += own.back() * std::log(own.back() / rest);
  }
  return sum;
}

}  // namespace

TEST_CASE("specialists: classes that are predicted together are grouped, from any seed") {
  const Tensor logits = confused_logits(1200);
  for (const std::uint64_t seed : {0u, 1u, 2u})
    CHECK(confusable_classes(logits, 1, 3, seed) == Groups{{0, 3}, {1, 2, 5}, {4}});
  CHECK(confusable_classes(logits, 1, 6, 0).size() == 6);
  // A generalist that is nearly always right, and classes of which some are rarer: only likeness counts.
  Tensor sure = Tensor::empty({1400, 6});
  for (std::int64_t row = 0; row < 1400; ++row) {
    static const std::int64_t often[] = {0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 1, 2, 3}, like[] = {1, 0, 3, 2, 5, 4};
    const std::int64_t label = often[row % 14];
    float* z = sure.data<float>() + row * 6;
    for (int i = 0; i < 6; ++i) z[i] = 0;
    z[label] = 9;
    z[like[label]] = row % 5 == 0 ? 8.5f : 5;
  }
  CHECK(confusable_classes(sure, 1, 3, 0) == Groups{{0, 1}, {2, 3}, {4, 5}});
  CHECK_THROWS_AS(confusable_classes(logits, 1, 1, 0), Error);
  CHECK_THROWS_AS(confusable_classes(logits, 1, 7, 0), Error);
}

TEST_CASE("specialists: q minimises the sum of the divergences") {
  // Two specialists that overlap, so that the minimum has no closed form; class 0 is on top of every row.
  const std::int64_t rows = 20;
  Tensor generalist = random_logits({rows, 5}, 1);
  for (std::int64_t row = 0; row < rows; ++row) generalist.data<float>()[row * 5] = 5;
  const std::vector<SpecialistLogits> specialists = {{{0, 2}, random_logits({rows, 3}, 2)},
                                                     {{0, 1, 3}, random_logits({rows, 4}, 3)}};
  const Tensor result = combine_with_specialists(generalist, specialists);
  Random random(4);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto p = softmax(generalist.data<float>() + row * 5, 5), q = softmax(result.data<float>() + row * 5, 5);
    double sum = 0;
    for (int i = 0; i < 5; ++i) sum += std::exp(result.data<float>()[row * 5 + i]);
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));  // log q of a distribution
    const double least = divergence(p, specialists, row, q);
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<float> moved(5);
      for (int i = 0; i < 5; ++i)
        moved[i] = static_cast<float>(std::log(q[i]) + random.uniform(-1, 1) * (trial < 25 ? 0.02 : 1.0));
      // The rounding of q to float is worth 1e-7 of each logarithm.
      CHECK(divergence(p, specialists, row, softmax(moved.data(), 5)) >= least - 1e-6);
    }
  }
}

TEST_CASE("specialists: one whose classes the generalist does not name first says nothing; agreement changes nothing") {
  const Tensor generalist = Tensor::from<float>({2, 4}, std::vector<float>{3, 0, 1, 0, 0, 0, 1, 3});
  const Tensor wild = Tensor::from<float>({2, 3}, std::vector<float>{-5, 5, 0, -5, 5, 0});
  const Tensor q = combine_with_specialists(generalist, {{{0, 1}, wild}});
  const auto p = softmax(generalist.data<float>() + 4, 4);
  for (int i = 0; i < 4; ++i) CHECK(q.data<float>()[4 + i] == doctest::Approx(std::log(p[i])).epsilon(1e-6));
  CHECK(q.data<float>()[1] > q.data<float>()[0]);  // the first row listens
  // A specialist that repeats the generalist.
  const auto first = softmax(generalist.data<float>(), 4);
  const std::vector<float> same = {static_cast<float>(std::log(first[0])),
                                   static_cast<float>(std::log(first[1])),
                                   static_cast<float>(std::log(first[2] + first[3])),
                                   0,
                                   0,
                                   0};
  const Tensor agreed = combine_with_specialists(generalist, {{{0, 1}, Tensor::from<float>({2, 3}, same)}});
  for (int i = 0; i < 4; ++i) CHECK(agreed.data<float>()[i] == doctest::Approx(std::log(first[i])).epsilon(1e-5));
  CHECK_THROWS_AS(combine_with_specialists(generalist, {{{0, 1}, random_logits({2, 2}, 1)}}), Error);
  CHECK_THROWS_AS(combine_with_specialists(generalist, {{{0, 1, 2, 3}, random_logits({2, 5}, 1)}}), Error);
}

TEST_CASE("specialist_set: all images of its classes, as many others, one label for those") {
  const auto source = std::make_shared<const test::Named>(std::vector<int>{10, 3, 30, 4});
  const SpecialistSet set = specialist_set(source, {1, 3}, 5);
  CHECK(set.special == 7);
  CHECK(set.others == 7);
  CHECK(set.oversampling == doctest::Approx(40.0 / 7));
  CHECK(set.images->classes() == std::vector<std::string>{"class1", "class3", kDustbin});
  REQUIRE(set.images->size() == 14);
  std::vector<int> counts(3);
  for (std::int64_t i = 0; i < 14; ++i) {
    const std::string& name = set.images->name(i);
    const std::int64_t label = set.images->label(i);
    CHECK(label == (name[0] == '1' ? 0 : name[0] == '3' ? 1 : 2));
    ++counts[label];
    for (std::int64_t j = 0; j < i; ++j) CHECK(set.images->name(j) != name);
  }
  CHECK(counts == std::vector<int>{3, 4, 7});
  // Fewer others than special images: all of them, and nothing to undo.
  const SpecialistSet most = specialist_set(source, {0, 2}, 5);
  CHECK(most.others == 7);
  CHECK(most.oversampling == 1);
  CHECK_THROWS_AS(specialist_set(source, {0, 1, 2, 3}, 5), Error);
}

}  // namespace retort
