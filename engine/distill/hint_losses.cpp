#include "engine/distill/hint_losses.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "engine/ops/matmul.h"
#include "engine/ops/normalize.h"
#include "engine/ops/pool.h"
#include "engine/ops/spatial.h"

namespace retort {
namespace {

constexpr std::int64_t kContrastWidth = 128;
constexpr double kContrastTemperature = 0.07;

ForwardContext training_context() {
  ForwardContext context;
  context.training = true;
  return context;
}

bool is_map(const Shape& shape) { return shape.rank() == 4; }

Tensor pooled_to(const Tensor& map, std::int64_t h, std::int64_t w) {
  return map.shape()[1] == h && map.shape()[2] == w ? map : adaptive_average_pool(map, h, w);
}

struct Pair {
  Tensor s, t;
};

/// Maps at the smaller's extents.
Pair aligned(const Tensor& s, const Tensor& t) {
  const std::int64_t h = std::min(s.shape()[1], t.shape()[1]), w = std::min(s.shape()[2], t.shape()[2]);
  return {pooled_to(s, h, w), pooled_to(t, h, w)};
}

/// The mean of (a - b)^2 over all elements of [n, c]: twice the soft term `mse` of them as rows. No gradient reaches b.
Tensor mean_square(const Tensor& a, const Tensor& b) {
  DistillationSettings settings;
  settings.loss = SoftLoss::mse;
  return scale(distillation_loss(a, b, {}, settings).total, 2);
}

class MapRegression : public HintComparison {
 public:
  MapRegression(std::int64_t in, std::int64_t out, Random& random)
      : regressor_(in, out, 1, 1, Conv2dOptions{}, true, Init::kaiming_uniform_default, random) {}
  Tensor loss(const Tensor& s, const Tensor& t) override {
    ForwardContext context = training_context();
    const Pair maps = aligned(s, t);
    return mean_square(flatten(regressor_.forward(maps.s, context)), flatten(maps.t));
  }
  void visit(Visitor& visitor) override { regressor_.visit(visitor); }

 private:
  Conv2d regressor_;
};

class VectorRegression : public HintComparison {
 public:
  VectorRegression(std::int64_t in, std::int64_t out, Random& random)
      : regressor_(in, out, Init::kaiming_uniform_default, random) {}
  Tensor loss(const Tensor& s, const Tensor& t) override {
    ForwardContext context = training_context();
    return mean_square(regressor_.forward(s, context), t);
  }
  void visit(Visitor& visitor) override { regressor_.visit(visitor); }

 private:
  Linear regressor_;
};

class Attention : public HintComparison {
 public:
  Tensor loss(const Tensor& s, const Tensor& t) override {
    const Pair maps = aligned(s, t);
    const Tensor of_s = attention(maps.s), of_t = attention(maps.t);
    return scale(mean_square(of_s, of_t), static_cast<double>(of_s.shape()[1]));
  }

 private:
  /// [n, h, w, c] -> [n, h * w]. The sum over the channels is a convolution with a filter of 1 / c.
  static Tensor attention(const Tensor& map) {
    const std::int64_t channels = map.shape()[3];
    const Tensor mean = Tensor::full({1, 1, channels, 1}, 1 / static_cast<double>(channels), DType::f32, map.device());
    return normalize(flatten(conv2d(multiply(map, map), mean, {}, {})));
  }
};

class Contrast : public HintComparison {
 public:
  Contrast(std::int64_t student, std::int64_t teacher, Random& random)
      : student_(student, kContrastWidth, Init::kaiming_uniform_default, random),
        teacher_(teacher, kContrastWidth, Init::kaiming_uniform_default, random) {}
  Tensor loss(const Tensor& s, const Tensor& t) override {
    ForwardContext context = training_context();
    const auto embedded = [&](Linear& layer, const Tensor& x) {
      return normalize(layer.forward(is_map(x.shape()) ? flatten(adaptive_average_pool(x, 1, 1)) : x, context));
    };
    const Tensor u = embedded(student_, s), v = embedded(teacher_, t);
    const std::int64_t n = u.shape()[0];
    const Tensor products =
        matmul(reshape(u, {1, 1, n, kContrastWidth}), reshape(v, {1, 1, n, kContrastWidth}), {.transpose_b = true});
    return cross_entropy(scale(reshape(products, {n, n}), 1 / kContrastTemperature), {.labels = own(n, u.device())});
  }
  void visit(Visitor& visitor) override {
    visitor("student", student_);
    visitor("teacher", teacher_);
  }

 private:
  /// 0, 1, ... n - 1. Kept, so that a captured step uploads nothing.
  const Tensor& own(std::int64_t n, Device device) {
    Tensor& labels = own_[n];
    if (!labels) {
      std::vector<std::int64_t> numbers(static_cast<std::size_t>(n));
      std::iota(numbers.begin(), numbers.end(), 0);
      labels = Tensor::from<std::int64_t>({n}, numbers).to(device);
    }
    return labels;
  }

  Linear student_, teacher_;
  std::map<std::int64_t, Tensor> own_;  ///< by the size of a batch
};

}  // namespace

std::unique_ptr<HintComparison> make_hint_comparison(HintLoss loss, const Shape& student, const Shape& teacher,
                                                     Random& random) {
  const std::int64_t in = student[-1], out = teacher[-1];
  switch (loss) {
    case HintLoss::regression:
      if (is_map(student)) return std::make_unique<MapRegression>(in, out, random);
      return std::make_unique<VectorRegression>(in, out, random);
    case HintLoss::attention: return is_map(student) ? std::make_unique<Attention>() : nullptr;
    case HintLoss::contrast: return std::make_unique<Contrast>(in, out, random);
  }
  return nullptr;
}

}  // namespace retort
