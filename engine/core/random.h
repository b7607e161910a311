// Random numbers from a counter: what is drawn depends on what it is for, never on who asked first.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"
#include "kernels/philox.h"

namespace retort {

/// FNV-1a of the bytes, finished by a mixing step: a key for a name.
std::uint64_t hash_name(std::string_view name);

/// A stream of Philox 4x32-10 draws. Streams with different (key, stream) are independent.
class Random {
 public:
  explicit Random(std::uint64_t key, std::uint64_t stream = 0) : key_(key), stream_(stream) {}
  /// A stream keyed by what it is for, e.g. Random::of(seed, "augment", epoch, sample_name).
  static Random of(std::uint64_t seed, std::string_view purpose, std::uint64_t index = 0, std::string_view name = {});
  /// A stream for a network whose values come from elsewhere: with it and its parts the fills below do nothing.
  static Random unused();

  /// This stream, `groups` groups of four words further on: parts of a large fill draw side by side.
  Random ahead(std::uint64_t groups) const;
  /// A stream of its own for a part: advances this one, so that the next split differs.
  Random split();

  bool is_unused() const { return unused_; }

  std::uint32_t bits();
  /// In [0, 1), 24 bits.
  double uniform();
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// An integer in [0, bound), without bias; bound >= 1.
  std::uint64_t below(std::uint64_t bound);
  /// Standard normal, by Box-Muller.
  double normal();
  /// Beta(a, a), for mixup.
  double beta(double a);

 private:
  std::uint64_t key_, stream_, counter_ = 0;
  std::array<std::uint32_t, 4> words_{};
  int left_ = 0;
  bool unused_ = false;
};

/// 0 .. n-1 in a random order (Fisher-Yates).
std::vector<std::int64_t> permutation(std::int64_t n, Random random);

/// The fills depend on the Random alone, not on the number of threads; an unused one leaves the tensor as it is.
/// tensor is f32 or f64.
void fill_uniform(Tensor& tensor, double low, double high, Random random);
void fill_normal(Tensor& tensor, double mean, double std, Random random);

}  // namespace retort
