// A batch in parts: how rows are dealt to them, that a step is the whole batch's, and that a run resumes exactly.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "engine/core/tape.h"
#include "engine/data/joined.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "tests/engine/small_training.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Neither batch norm nor dropout: logits are one linear map of the pixels.
class LinearNet final : public Network {
 public:
  LinearNet() : LinearNet(Random(3)) {}
  Tensor forward(const Tensor& x, ForwardContext& context) override { return fc.forward(flatten(x), context); }
  void visit(Visitor& visitor) override { visitor("fc", fc); }
  std::int64_t min_image_size() const override { return 1; }

  Linear fc;

 private:
  explicit LinearNet(Random random) : fc(12, 3, Init::kaiming_uniform_default, random) {}
};

constexpr std::int64_t kPixels = 12, kClasses = 3;

struct Rows {
  Tensor x, labels, teacher;
};

Rows random_rows(std::int64_t n) {
  Rows rows{Tensor::empty({n, 2, 2, 3}), Tensor::empty({n}, DType::i64), Tensor::empty({n, kClasses})};
  fill_uniform(rows.x, -1, 1, Random(5));
  fill_uniform(rows.teacher, -2, 2, Random(6));
  for (std::int64_t i = 0; i < n; ++i) rows.labels.data<std::int64_t>()[i] = i % kClasses;
  return rows;
}

std::vector<StepInputs> cut(const Rows& rows, std::int64_t full, std::int64_t parts) {
  const std::int64_t n = rows.x.shape()[0];
  std::vector<StepInputs> inputs;
  for (std::int64_t part = 0; part < parts; ++part) {
    const RowRange range = part_rows(n, full, parts, part);
    if (range.count == 0) continue;
    inputs.push_back({.x = rows.x.rows(range.first, range.count),
                      .labels = rows.labels.rows(range.first, range.count),
                      .teacher = rows.teacher.rows(range.first, range.count),
                      .whole = n});
  }
  return inputs;
}

/// The weights after one step of plain SGD at a rate of 1: the start less the gradient.
std::vector<float> stepped(const Rows& rows, std::int64_t full, std::int64_t parts) {
  LinearNet network;
  Optimizer optimizer(parameters(network), {.momentum = 0});
  StepSettings settings;
  settings.distillation = {.temperature = 2, .lambda = 0.5};
  settings.parts = parts;
  TrainingStep step(network, optimizer, settings);
  step.run(cut(rows, full, parts), /*lr=*/1);
  const std::span<float> w = network.fc.weight.value.span<float>();
  return {w.begin(), w.end()};
}

}  // namespace

TEST_CASE("accumulate: the parts of a batch are its rows in order, as even as can be, and none is a single row") {
  for (std::int64_t full = 1; full <= 12; ++full)
    for (std::int64_t parts = 1; parts <= full; ++parts)
      for (std::int64_t rows = 1; rows <= full; ++rows) {
        std::int64_t next = 0, least = rows, most = 0;
        bool ended = false;
        for (std::int64_t part = 0; part < parts; ++part) {
          const RowRange range = part_rows(rows, full, parts, part);
          if (range.count == 0) {
            ended = true;
            continue;
          }
          CHECK_FALSE(ended);  // the empty ones come last
          CHECK(range.first == next);
          next += range.count;
          least = std::min(least, range.count);
          most = std::max(most, range.count);
        }
        CHECK(next == rows);
        CHECK(most - least <= 1);
        CHECK(most <= std::max<std::int64_t>(part_size(full, parts), 3));  // an odd number of rows in pairs
        if (full / parts >= 2 && rows >= 2) CHECK(least >= 2);
        if (rows == full) CHECK_FALSE(ended);
      }
}

TEST_CASE("accumulate: where one row a part is enough, a short batch has as many parts as rows") {
  for (std::int64_t part = 0; part < 4; ++part) {
    CHECK(part_rows(3, 8, 4, part, /*fewest=*/1).count == (part < 3 ? 1 : 0));
    CHECK(part_rows(6, 8, 4, part, /*fewest=*/1).count >= 1);
  }
}

TEST_CASE("accumulate: a loader gives the parts that it is asked for, of the same batches in the same order") {
  const Colours data("c", 11, true);
  LoaderOptions loading;
  loading.batch_size = 4;
  loading.preprocessings = {small_preprocessing()};
  loading.augmentation.flip = true;
  loading.shuffle = true;
  const auto load = [&](BatchParts parts, std::int64_t skip) {
    loading.parts = parts;
    Loader loader(data, loading);
    CHECK(loader.batches() == 3);
    loader.start(1, 1, skip);
    std::vector<Batch> all;
    for (Batch batch; loader.next(batch);) all.push_back(batch);
    return all;
  };
  const std::vector<Batch> whole = load({}, 0), halves = load({.count = 2, .taken = 2}, 0);
  REQUIRE(halves.size() == 6);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    CHECK(halves[i].part == static_cast<std::int64_t>(i % 2));
    CHECK(halves[i].whole == (i < 4 ? 4 : 3));
  }
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::vector<std::int64_t> indices = halves[2 * i].indices;
    std::string pixels = bytes_of(halves[2 * i].inputs[0]);
    if (halves[2 * i + 1].indices.empty()) {
      CHECK(i == 2);  // three rows are one part
      CHECK(halves[2 * i + 1].inputs.empty());
    } else {
      const auto& second = halves[2 * i + 1];
      indices.insert(indices.end(), second.indices.begin(), second.indices.end());
      pixels += bytes_of(second.inputs[0]);
    }
    CHECK(indices == whole[i].indices);
    CHECK(pixels == bytes_of(whole[i].inputs[0]));
  }
  // The second part alone, from the second batch on.
  const std::vector<Batch> second = load({.count = 2, .first = 1, .taken = 1}, 1);
  REQUIRE(second.size() == 2);
  CHECK(second[0].indices == halves[3].indices);
  CHECK(second[0].part == 1);
  CHECK(second[1].indices.empty());
}

TEST_CASE("accumulate: without batch norm and dropout a step in parts is the whole batch's") {
  // Both gradients sum the same rows' x_i dz_i in f32, in another order: each rounds n times, by at most 2^-24 of the
  // sum of the terms' sizes. A term's own factors 1/n, T and the share round 4 times each on either way, and the
  // weights' update once, by 2^-24 of a weight below 1.
  for (const auto& [n, full] : {std::pair<std::int64_t, std::int64_t>{8, 8}, {5, 8}, {7, 12}}) {
    const Rows rows = random_rows(n);
    LinearNet start;
    const std::span<const float> w0 = start.fc.weight.value.span<float>();
    std::vector<double> sizes(static_cast<std::size_t>(kPixels * kClasses));
    for (std::int64_t i = 0; i < n; ++i) {
      const Rows one{rows.x.rows(i, 1), rows.labels.rows(i, 1), rows.teacher.rows(i, 1)};
      const std::vector<float> w = stepped(one, 1, 1);
      for (std::size_t k = 0; k < sizes.size(); ++k)
        sizes[k] += std::abs(static_cast<double>(w[k]) - static_cast<double>(w0[k])) / static_cast<double>(n);
    }
    const std::vector<float> whole = stepped(rows, full, 1);
    for (const std::int64_t parts : {2, 3, 4}) {
      CAPTURE(n);
      CAPTURE(parts);
      const std::vector<float> cut_up = stepped(rows, full, parts);
      bool moved = false;
      for (std::size_t k = 0; k < whole.size(); ++k) {
        const double bound = (2.0 * static_cast<double>(n + 4) * sizes[k] + 2) * 0x1p-24;
        CHECK(std::abs(static_cast<double>(cut_up[k]) - static_cast<double>(whole[k])) <= bound);
        moved |= std::abs(whole[k] - w0[k]) > 1e-3F;
      }
      CHECK(moved);
    }
  }
}

TEST_CASE("accumulate: batch norm sees each part by itself, and its running statistics move once, by their mean") {
  Tensor x = Tensor::empty({8, 4, 4, 3});
  fill_uniform(x, -1, 2, Random(4));
  const Tensor labels = Tensor::from<std::int64_t>({8}, std::array<std::int64_t, 8>{0, 1, 1, 0, 1, 0, 0, 1});
  SmallNet network;
  Optimizer optimizer(parameters(network), {.momentum = 0});
  StepSettings settings;
  settings.dropout = 0;
  settings.parts = 2;
  TrainingStep step(network, optimizer, settings);
  const std::vector<StepInputs> parts = {{.x = x.rows(0, 5), .labels = labels.rows(0, 5), .whole = 8},
                                         {.x = x.rows(5, 3), .labels = labels.rows(5, 3), .whole = 8}};
  const std::vector<StepResults> results = step.run(parts, /*lr=*/0);
  REQUIRE(results.size() == 2);
  std::vector<double> expected(6);
  for (std::size_t part = 0; part < 2; ++part) {
    SmallNet alone;
    ForwardContext context;
    context.training = true;
    context.dropout = 0;
    CHECK(bytes_of(alone.forward(parts[part].x, context)) == bytes_of(results[part].logits));
    for (std::size_t c = 0; c < 6; ++c)
      expected[c] += parts[part].share() * static_cast<double>(alone.bn1.running_var.value.data<float>()[c]);
  }
  // A handful of roundings of values around 1.
  for (std::size_t c = 0; c < 6; ++c) {
    const double found = network.bn1.running_var.value.data<float>()[c];
    CHECK(std::abs(found - expected[c]) <= 8 * 0x1p-24);
    CHECK(std::abs(found - 1) > 1e-3);
  }
  CHECK(*network.bn1.num_batches_tracked.value.data<std::int64_t>() == 1);
  // What a frozen or unused layer keeps, it keeps bit for bit: three shares do not sum to 1 in binary.
  settings.parts = 3;
  network.bn2.running_var.frozen = network.bn2.running_mean.frozen = true;
  network.bn2.running_var.value.data<float>()[0] = 0.1F;
  const std::string before = bytes_of(network.bn2.running_var.value);
  TrainingStep thirds(network, optimizer, settings);
  thirds.run(std::array{StepInputs{.x = x.rows(0, 2), .labels = labels.rows(0, 2), .whole = 6},
                        StepInputs{.x = x.rows(2, 2), .labels = labels.rows(2, 2), .whole = 6},
                        StepInputs{.x = x.rows(4, 2), .labels = labels.rows(4, 2), .whole = 6}},
             0);
  CHECK(bytes_of(network.bn2.running_var.value) == before);
  CHECK(*network.bn2.num_batches_tracked.value.data<std::int64_t>() == 1);
  CHECK(*network.bn1.num_batches_tracked.value.data<std::int64_t>() == 2);
}

TEST_CASE("accumulate: a run in parts resumes to the same bits, and its parts draw dropout masks of their own") {
  const Colours train("t", 29, true), val("v", 11, true);
  const auto teacher = small_teacher(train), val_teacher = small_teacher(val);
  TrainSettings settings = small_settings();
  settings.batch_size = 10;  // parts of 3, 3 and 4 rows; the last batch, of 9, has three each
  settings.accumulate = 3;
  settings.mixup = 0.4;
  settings.views = 1;
  settings.ema = 0.9;
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    settings.optimizer.kind = kind;
    settings.optimizer.max_norm = 1;
    CHECK(resumes_exactly(settings, train, &val, teacher.get(), 2));
  }
  const Tensor first = Tensor::full({1, 64}, 1);
  const auto mask = [&](std::uint64_t part) {
    return bytes_of(dropout(first, 0.5, dropout_key(0, part << 48 | 1 << 16)));
  };
  CHECK(mask(0) != mask(1));
  CHECK(mask(1) != mask(2));
}

TEST_CASE("accumulate: rows with and without a label are cut alike, and too few are refused") {
  const auto data =
      join_unlabelled(std::make_shared<Colours>("l", 12, true), {std::make_shared<Colours>("u", 28, false)});
  const auto teacher = small_teacher(*data);
  TrainSettings settings = small_settings();
  settings.accumulate = 2;
  settings.views = 1;
  settings.unlabelled_share = 0.5;
  CHECK(resumes_exactly(settings, *data, nullptr, teacher.get(), 3));
  const Scratch scratch;
  SmallRun run;
  settings.unlabelled_share = 0.9;  // 7 of 8
  CHECK(error_message([&] { run_small(run, settings, *data, nullptr, teacher.get(), scratch / "state"); }) ==
        "--accumulate: of a batch's 1 images with a label and 7 without, each of 2 parts needs one; give a larger "
        "--batch-size");
  settings.accumulate = 9;
  CHECK(error_message([&] { run_small(run, settings, *data, nullptr, teacher.get(), scratch / "state"); }) ==
        "--accumulate: a batch of 8 cannot be cut into 9 parts; give a larger --batch-size");
}
