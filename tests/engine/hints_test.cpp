// Hints: the loss by its formula, its gradient, and runs that are stopped and resumed.
#include "engine/distill/hints.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "tests/engine/small_training.h"
#include "tests/error_message.h"

namespace retort::test {
namespace {

LayerReport layer(const char* name, const Shape& output) { return {name, "Conv2d", output, 0, 0}; }

Tensor drawn(const Shape& shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape);
  fill_uniform(tensor, -1, 1, Random(seed));
  return tensor;
}

double at(const Tensor& map, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  const Shape& s = map.shape();
  return static_cast<double>(map.data<float>()[((n * s[1] + h) * s[2] + w) * s[3] + c]);
}

Parameter& named(Module& module, const std::string& name) {
  for (Parameter* parameter : parameters(module))
    if (parameter->name == name) return *parameter;
  throw Error("no parameter " + name);
}

/// The layers of a SmallNet on its pictures.
std::vector<LayerReport> small_layers() {
  SmallNet network;
  parameters(network);
  std::vector<LayerReport> layers;
  ForwardContext context;
  context.report = &layers;
  network.forward(Tensor::zeros({1, 4, 4, 3}), context);
  return layers;
}

/// A run taught by a SmallNet, with hints; stopped every `stride` steps, if that is above 0. Returns the network's
/// bytes and the hints' at the end.
std::string trained(std::int64_t stride, std::vector<EpochReport>& reports) {
  const Scratch scratch;
  const Colours data("l", 24, true);
  TrainSettings settings = small_settings();
  for (bool finished = false;;) {
    SmallNet network;
    std::vector<LiveTeacher::Member> members;
    members.push_back({std::make_unique<SmallNet>(5), small_preprocessing()});
    parameters(*members[0].network);
    LiveTeacher teacher(std::move(members), Combine::logit);
    Hints hints({{{"bn1", "bn2"}, {"fc", "fc"}}, HintLoss::regression, 10}, small_layers(), small_layers(), 3);
    teacher.ask_for_outputs({"bn1", "fc"});
    TrainHooks hooks;
    std::int64_t steps = 0;
    hooks.step_done = [&](std::int64_t, std::int64_t, double) { ++steps; };
    hooks.should_stop = [&] { return stride > 0 && steps >= stride; };
    hooks.epoch_done = [&](const EpochReport& report) { reports.push_back(report); };
    const TrainingParts parts{.network = network,
                              .preprocessing = small_preprocessing(),
                              .classes = 2,
                              .train = data,
                              .teacher = &teacher,
                              .hints = &hints};
    Trainer trainer(parts, settings, hooks, scratch / "state", {});
    if (std::filesystem::exists(scratch / "state")) trainer.resume();
    finished = trainer.run();
    if (finished) return bytes_of(network) + bytes_of(hints);
  }
}

}  // namespace

TEST_CASE("hints: the loss is the mean square of regressed and averaged maps, times the weight") {
  Hints hints({{{"t", "s"}}, HintLoss::regression, 7}, {layer("t", {1, 2, 2, 3})}, {layer("s", {1, 4, 4, 2})}, 1);
  const Tensor s = drawn({2, 4, 4, 2}, 1), t = drawn({2, 2, 2, 3}, 2);
  const Tensor w = named(hints, "hint.0.weight").value, b = named(hints, "hint.0.bias").value;
  double sum = 0;
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t h = 0; h < 2; ++h)
      for (std::int64_t x = 0; x < 2; ++x)
        for (std::int64_t k = 0; k < 3; ++k) {
          double y = static_cast<double>(b.data<float>()[k]);
          for (std::int64_t c = 0; c < 2; ++c) {
            double mean = 0;
            for (int i = 0; i < 4; ++i) mean += at(s, n, 2 * h + i / 2, 2 * x + i % 2, c) / 4;
            y += mean * static_cast<double>(w.data<float>()[c * 3 + k]);
          }
          sum += (y - at(t, n, h, x, k)) * (y - at(t, n, h, x, k));
        }
  // 24 squares of sums of three products in float.
  CHECK(hints.loss({{"s", s}}, {t}).item() == doctest::Approx(7 * sum / 24).epsilon(1e-5));
}

TEST_CASE("hints: the gradient of vectors is the formula's, and none reaches the teacher") {
  Hints hints({{{"t", "s"}}, HintLoss::regression, 5}, {layer("t", {1, 2})}, {layer("s", {1, 3})}, 1);
  Tensor s = drawn({4, 3}, 3).require_grad(), t = drawn({4, 2}, 4).require_grad();
  const Tensor w = named(hints, "hint.0.weight").value, b = named(hints, "hint.0.bias").value;
  Tape tape;
  tape.backward(hints.loss({{"s", s}}, {t}));
  CHECK_FALSE(t.grad());
  const float *x = s.data<float>(), *weight = w.data<float>();
  for (std::int64_t n = 0; n < 4; ++n)
    for (std::int64_t c = 0; c < 3; ++c) {
      double gradient = 0;
      for (std::int64_t k = 0; k < 2; ++k) {
        double y = static_cast<double>(b.data<float>()[k]);
        for (std::int64_t i = 0; i < 3; ++i)
          y += static_cast<double>(x[n * 3 + i]) * static_cast<double>(weight[i * 2 + k]);
        gradient += 5 * 2.0 / 8 * (y - static_cast<double>(t.data<float>()[n * 2 + k])) *
                    static_cast<double>(weight[c * 2 + k]);
      }
      CHECK(static_cast<double>(s.grad().data<float>()[n * 3 + c]) == doctest::Approx(gradient).epsilon(1e-5));
    }
}

TEST_CASE("hints: attention is the squared distance of the maps' energies at unit length") {
  Hints hints({{{"t", "s"}}, HintLoss::attention, 3}, {layer("t", {1, 2, 2, 3})}, {layer("s", {1, 4, 4, 2})}, 1);
  CHECK(parameters(hints).empty());
  const Tensor s = drawn({2, 4, 4, 2}, 1), t = drawn({2, 2, 2, 3}, 2);
  double loss = 0;
  for (std::int64_t n = 0; n < 2; ++n) {
    double of_s[4] = {}, of_t[4] = {}, length_s = 0, length_t = 0;
    for (std::int64_t p = 0; p < 4; ++p) {
      for (std::int64_t c = 0; c < 2; ++c) {
        double mean = 0;
        for (int i = 0; i < 4; ++i) mean += at(s, n, 2 * (p / 2) + i / 2, 2 * (p % 2) + i % 2, c) / 4;
        of_s[p] += mean * mean / 2;
      }
      for (std::int64_t c = 0; c < 3; ++c) of_t[p] += at(t, n, p / 2, p % 2, c) * at(t, n, p / 2, p % 2, c) / 3;
      length_s += of_s[p] * of_s[p];
      length_t += of_t[p] * of_t[p];
    }
    for (int p = 0; p < 4; ++p) {
      const double difference = of_s[p] / std::sqrt(length_s) - of_t[p] / std::sqrt(length_t);
      loss += difference * difference / 2;
    }
  }
  // Some ten roundings of terms up to 1.
  CHECK(hints.loss({{"s", s}}, {t}).item() == doctest::Approx(3 * loss).epsilon(1e-5));
  CHECK(hints.loss({{"s", t}}, {t}).item() == doctest::Approx(0).epsilon(1e-6));
}

TEST_CASE("hints: contrast is the cross-entropy of each picture among those of the batch, and its gradient is right") {
  Hints hints({{{"t", "s"}}, HintLoss::contrast, 2}, {layer("t", {1, 2, 2, 3})}, {layer("s", {1, 3, 3, 2})}, 1);
  Tensor s = drawn({3, 3, 3, 2}, 1).require_grad();
  const Tensor t = drawn({3, 2, 2, 3}, 2);
  const auto embedded = [&](const Tensor& map, const char* layer) {
    const Tensor w = named(hints, text("hint.0.", layer, ".weight")).value;
    const Tensor b = named(hints, text("hint.0.", layer, ".bias")).value;
    const Shape& shape = map.shape();
    std::vector<std::vector<double>> rows;
    for (std::int64_t n = 0; n < shape[0]; ++n) {
      std::vector<double> row;
      double length = 0;
      for (std::int64_t k = 0; k < 128; ++k) {
        double y = static_cast<double>(b.data<float>()[k]);
        for (std::int64_t c = 0; c < shape[3]; ++c) {
          double mean = 0;
          for (std::int64_t p = 0; p < shape[1] * shape[2]; ++p) mean += at(map, n, p / shape[2], p % shape[2], c);
          y += mean / static_cast<double>(shape[1] * shape[2]) * static_cast<double>(w.data<float>()[c * 128 + k]);
        }
        row.push_back(y);
        length += y * y;
      }
      for (double& value : row) value /= std::sqrt(length);
      rows.push_back(row);
    }
    return rows;
  };
  const auto expected = [&] {
    const auto u = embedded(s, "student"), v = embedded(t, "teacher");
    double loss = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      double sum = 0, own = 0;
      for (std::size_t j = 0; j < 3; ++j) {
        double dot = 0;
        for (std::size_t k = 0; k < 128; ++k) dot += u[i][k] * v[j][k];
        sum += std::exp(dot / 0.07);
        if (i == j) own = dot / 0.07;
      }
      loss += (std::log(sum) - own) / 3;
    }
    return 2 * loss;
  };
  Tape tape;
  const Tensor loss = hints.loss({{"s", s}}, {t});
  CHECK(loss.item() == doctest::Approx(expected()).epsilon(1e-4));  // logits of up to 14 in float, of 128 products
  tape.backward(loss);
  for (const std::int64_t i : {0, 7, 30, 53}) {
    constexpr float kStep = 0x1p-8f;
    float& value = s.data<float>()[i];
    const float before = value;
    value = before + kStep;
    const double above = expected();
    value = before - kStep;
    const double below = expected();
    value = before;
    // The third derivative over the step, and float's rounding of the tape's.
    CHECK(static_cast<double>(s.grad().data<float>()[i]) ==
          doctest::Approx((above - below) / (2 * static_cast<double>(kStep))).epsilon(2e-3));
  }
}

TEST_CASE("hints: a layer's output is tapped as it is, the convolution's under a fused batch norm too") {
  SmallNet network;
  parameters(network);
  const Tensor x = drawn({2, 4, 4, 3}, 5);
  const NoGrad no_grad;
  Taps taps{{"conv1", {}}, {"bn1", {}}};
  ForwardContext with, without;
  with.taps = &taps;
  network.forward(x, with);
  const Tensor conv = network.conv1.forward(x, without), normed = network.bn1.forward(conv, without, true);
  CHECK(bytes_of(taps.at("conv1")) == bytes_of(conv));
  CHECK(bytes_of(taps.at("bn1")) == bytes_of(normed));
}

TEST_CASE("hints: what does not go together is refused by name") {
  const std::vector<LayerReport> teacher = {layer("a", {1, 2, 2, 3}), layer("b", {1, 5})}, student = teacher;
  const auto refusal = [&](const char* words, HintLoss loss = HintLoss::regression) {
    return error_message([&] { Hints({{parse_hint(words)}, loss, 1}, teacher, student, 0); });
  };
  CHECK(refusal("a") == "--hint: 'a' is no pair of layers; give TEACHER.LAYER:STUDENT.LAYER");
  CHECK(refusal("a:") == "--hint: 'a:' is no pair of layers; give TEACHER.LAYER:STUDENT.LAYER");
  CHECK(refusal("x:a") == "--hint: the teacher has no layer 'x'; `retort summary` lists its layers, a ... b");
  CHECK(refusal("a:y") == "--hint: the student has no layer 'y'; `retort summary` lists its layers, a ... b");
  CHECK(refusal("a:b") == "--hint: a gives [1, 2, 2, 3] and b gives [1, 5]; pair two maps, or two vectors");
  CHECK(refusal("b:b") == "(nothing thrown)");
  CHECK(refusal("b:b", HintLoss::attention) ==
        "--hint-loss attention: b gives [1, 5], a vector, which has no positions; pair two maps");
}

TEST_CASE("hints: their loss falls, and a stopped run ends with the bits of one that never stopped") {
  std::vector<EpochReport> reports, pieces;
  const std::string whole = trained(0, reports);
  REQUIRE(reports.size() == 3);
  CHECK(reports.back().train.hints < 0.9 * reports.front().train.hints);
  CHECK(trained(1, pieces) == whole);
  REQUIRE(pieces.size() == 3);
  CHECK(pieces.back().train.hints == reports.back().train.hints);
}

}  // namespace retort::test
