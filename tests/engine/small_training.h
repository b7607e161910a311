// A network with batch norm, pictures told apart by colour, and a teacher: runs that take milliseconds.
#pragma once

#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "engine/distill/trainer.h"
#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "tests/engine/io_scratch.h"

namespace retort::test {

/// 4 x 4 pictures of three channels, of class i % 2: red or blue prevails. Those from `labelled` on have no label.
class Colours final : public Dataset {
 public:
  Colours(const std::string& prefix, std::int64_t count, bool has_labels) {
    if (has_labels) classes_ = {"red", "blue"};
    for (std::int64_t i = 0; i < count; ++i) {
      names_.push_back(prefix + std::to_string(i));
      Image image{4, 4, 3, {}};
      Random random = Random::of(7, prefix, static_cast<std::uint64_t>(i));
      for (int pixel = 0; pixel < 16; ++pixel)
        for (int c = 0; c < 3; ++c)
          image.pixels.push_back(static_cast<std::uint8_t>(random.below(120) + (c == (i % 2 ? 2 : 0) ? 100 : 0)));
      images_.push_back(std::move(image));
    }
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t index) const override { return names_[static_cast<std::size_t>(index)]; }
  std::int64_t label(std::int64_t index) const override { return labelled() ? index % 2 : -1; }
  Image load(std::int64_t index) const override { return images_[static_cast<std::size_t>(index)]; }
  std::string content_hash(std::int64_t) const override { return {}; }

 private:
  std::vector<std::string> names_;
  std::vector<Image> images_;
};

/// Two convolutions with batch norms, dropout, and a linear map of the pixels.
class SmallNet final : public Network {
 public:
  explicit SmallNet(std::uint64_t seed = 1) : SmallNet(Random(seed)) {}
  Tensor forward(const Tensor& x, ForwardContext& context) override {
    const Tensor y = conv_bn(conv1, bn1, x, context, true);
    return fc.forward(dropout_layer(flatten(conv_bn(conv2, bn2, y, context, true)), 0.2, context), context);
  }
  void visit(Visitor& visitor) override {
    visitor("conv1", conv1);
    visitor("bn1", bn1);
    visitor("conv2", conv2);
    visitor("bn2", bn2);
    visitor("fc", fc);
  }
  std::int64_t min_image_size() const override { return 1; }

  Conv2d conv1;
  BatchNorm2d bn1{6};
  Conv2d conv2;
  BatchNorm2d bn2{4};
  Linear fc;

 private:
  explicit SmallNet(Random random)
      : conv1(3, 6, 3, 3, {.pad_h = 1, .pad_w = 1}, false, Init::kaiming_normal_fan_out, random),
        conv2(6, 4, 1, 1, {}, false, Init::kaiming_normal_fan_out, random),
        fc(64, 2, Init::kaiming_uniform_default, random, {4, 4, 4}) {}
};

inline Preprocessing small_preprocessing() { return {4, 3, {0.4, 0.4, 0.4}, {0.2, 0.2, 0.2}}; }

/// Logits of `views` views: right, by a margin that differs from picture to picture.
inline std::unique_ptr<CachedTeacher> small_teacher(const Dataset& dataset, std::int64_t views = 1) {
  LogitStore store;
  store.views = views;
  store.logits = Tensor::empty({views * dataset.size(), 2});
  for (std::int64_t row = 0; row < views * dataset.size(); ++row) {
    const Image image = dataset.load(row % dataset.size());
    const bool blue = image.pixels[2] > image.pixels[0];
    store.names.push_back(dataset.name(row % dataset.size()));
    store.logits.tensor().data<float>()[2 * row] = blue ? 0.0f : 2.0f + static_cast<float>(row % 5) / 4;
    store.logits.tensor().data<float>()[2 * row + 1] = blue ? 2.0f + static_cast<float>(row % 3) / 4 : 0.0f;
  }
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset.size()));
  std::iota(rows.begin(), rows.end(), 0);
  return std::make_unique<CachedTeacher>(std::move(store), std::move(rows));
}

/// A module's parameters and buffers, as bytes.
inline std::string bytes_of(Module& module) {
  std::string bytes;
  for (const Parameter* parameter : parameters(module))
    bytes.append(static_cast<const char*>(parameter->value.raw()), parameter->value.bytes());
  return bytes;
}

inline std::string bytes_of(const Tensor& tensor) { return {static_cast<const char*>(tensor.raw()), tensor.bytes()}; }

inline TrainSettings small_settings() {
  TrainSettings settings;
  settings.epochs = 3;
  settings.batch_size = 8;
  settings.schedule.lr = 0.05;
  settings.distillation = {.temperature = 2, .lambda = 0.3};
  settings.augmentation.flip = true;
  return settings;
}

/// One run: what it reported, and the network at its end.
struct SmallRun {
  SmallNet network;
  std::vector<EpochReport> reports;
  std::vector<std::string> saved;  ///< the network's bytes at each save_checkpoint
  bool finished = false;
};

/// Trains, from the state in `state` if there is one; stops after `stop_after` steps of this call, if that is above 0.
inline void run_small(SmallRun& run, const TrainSettings& settings, const Dataset& train, const Dataset* val,
                      Teacher* teacher, const std::string& state, std::int64_t stop_after = 0) {
  TrainHooks hooks;
  std::int64_t steps = 0;
  hooks.step_done = [&](std::int64_t, std::int64_t, double) { ++steps; };
  hooks.should_stop = [&] { return stop_after > 0 && steps >= stop_after; };
  hooks.epoch_done = [&](const EpochReport& report) { run.reports.push_back(report); };
  hooks.save_checkpoint = [&] { run.saved.push_back(bytes_of(run.network)); };
  const TrainingParts parts{.network = run.network,
                            .preprocessing = small_preprocessing(),
                            .classes = 2,
                            .train = train,
                            .val = val,
                            .teacher = teacher};
  Trainer trainer(parts, settings, hooks, state, {});
  if (std::filesystem::exists(state)) trainer.resume();
  run.finished = trainer.run();
}

/// A run that is stopped every `stride` steps and resumed by a new trainer and network ends as one that never stopped.
inline bool resumes_exactly(const TrainSettings& settings, const Dataset& train, const Dataset* val, Teacher* teacher,
                            std::int64_t stride) {
  const Scratch scratch;
  SmallRun whole;
  run_small(whole, settings, train, val, teacher, scratch / "whole");
  std::vector<std::string> saved;
  for (int part = 0; part < 100; ++part) {
    SmallRun piece;
    run_small(piece, settings, train, val, teacher, scratch / "pieces", stride);
    saved.insert(saved.end(), piece.saved.begin(), piece.saved.end());
    if (piece.finished) return bytes_of(piece.network) == bytes_of(whole.network) && saved == whole.saved;
  }
  return false;
}

}  // namespace retort::test
