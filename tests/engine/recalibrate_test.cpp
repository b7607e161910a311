// Batch norm's running statistics, estimated anew.
#include "engine/distill/recalibrate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/distill/evaluate.h"
#include "tests/engine/small_training.h"

using namespace retort;
using namespace retort::test;

namespace {

LoaderOptions loading(std::int64_t batch_size) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.preprocessings = {small_preprocessing()};
  options.seed = 3;
  return options;
}

/// The mean and the unbiased variance of the first convolution's outputs over pictures, channel by channel.
std::pair<std::vector<double>, std::vector<double>> by_hand(SmallNet& network, const Tensor& images) {
  ForwardContext context;
  const Tensor y = network.conv1.forward(images, context);
  const std::int64_t channels = y.shape()[3], rows = y.count() / channels;
  std::vector<double> mean(static_cast<std::size_t>(channels)), var(mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    for (std::int64_t i = 0; i < rows; ++i) mean[c] += y.data<float>()[i * channels + static_cast<std::int64_t>(c)];
    mean[c] /= static_cast<double>(rows);
    for (std::int64_t i = 0; i < rows; ++i)
      var[c] += std::pow(y.data<float>()[i * channels + static_cast<std::int64_t>(c)] - mean[c], 2);
    var[c] /= static_cast<double>(rows - 1);
  }
  return {mean, var};
}

}  // namespace

TEST_CASE("recalibration: one batch gives its own mean and unbiased variance, whatever was there") {
  const Colours data("p", 20, true);
  SmallNet network;
  network.bn1.running_mean.value = Tensor::full({6}, 1e6);
  network.bn1.running_var.value = Tensor::full({6}, 1e-6);
  *network.bn1.num_batches_tracked.value.data<std::int64_t>() = 5;
  const std::string weights = bytes_of(network.conv1.weight.value) + bytes_of(network.fc.weight.value);
  CHECK(Recalibration(data, loading(32), 1024).run(network, DType::f32, false, 0) == 20);
  Loader loader(data, loading(32));
  loader.start(0, 0);
  Batch all;
  REQUIRE(loader.next(all));
  const auto [mean, var] = by_hand(network, all.inputs[0]);
  for (std::size_t c = 0; c < 6; ++c) {
    CHECK(network.bn1.running_mean.value.data<float>()[c] == doctest::Approx(mean[c]).epsilon(1e-4));
    CHECK(network.bn1.running_var.value.data<float>()[c] == doctest::Approx(var[c]).epsilon(1e-4));
  }
  CHECK(*network.bn1.num_batches_tracked.value.data<std::int64_t>() == 5);
  CHECK(bytes_of(network.conv1.weight.value) + bytes_of(network.fc.weight.value) == weights);
}

TEST_CASE("recalibration: batches count by their rows") {
  const Colours data("p", 20, true);
  SmallNet network;
  // Batches of 8, 8 and 4 pictures of one permutation.
  CHECK(Recalibration(data, loading(8), 1024).run(network, DType::f32, false, 0) == 20);
  const std::vector<std::int64_t> order = permutation(20, Random::of(3, "recalibrate"));
  std::vector<double> mean(6), var(6);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 8}, {8, 8}, {16, 4}}) {
    Tensor images = Tensor::empty({count, 4, 4, 3});
    for (std::int64_t i = 0; i < count; ++i) {
      const Image image = data.load(order[static_cast<std::size_t>(first + i)]);
      render(image, centre_view(image), small_preprocessing(), images.data<float>() + i * 48);
    }
    const auto [batch_mean, batch_var] = by_hand(network, images);
    for (std::size_t c = 0; c < 6; ++c) {
      mean[c] += batch_mean[c] * static_cast<double>(count) / 20;
      var[c] += batch_var[c] * static_cast<double>(count) / 20;
    }
  }
  for (std::size_t c = 0; c < 6; ++c) {
    CHECK(network.bn1.running_mean.value.data<float>()[c] == doctest::Approx(mean[c]).epsilon(1e-4));
    CHECK(network.bn1.running_var.value.data<float>()[c] == doctest::Approx(var[c]).epsilon(1e-4));
  }
}

TEST_CASE("recalibration: so many pictures, none for frozen statistics, and dropout is off") {
  const Colours data("p", 20, true);
  SmallNet network, twin;
  CHECK(Recalibration(data, loading(8), 12).run(network, DType::f32, false, 0) == 12);
  Recalibration same(data, loading(8), 12);
  same.run(twin, DType::f32, false, 0);
  CHECK(bytes_of(twin) == bytes_of(network));
  same.run(twin, DType::f32, false, 0);  // from other statistics
  CHECK(bytes_of(twin) == bytes_of(network));
  for (BatchNorm2d* bn : {&network.bn1, &network.bn2}) bn->running_mean.frozen = bn->running_var.frozen = true;
  const std::string before = bytes_of(network);
  CHECK(Recalibration(data, loading(8), 5).run(network, DType::f32, false, 0) == 0);
  CHECK(bytes_of(network) == before);
}

TEST_CASE("recalibration_due: early, where epochs are short, or as asked") {
  using When = RecalibrationSettings::When;
  CHECK(recalibration_due({}, 199, 500));
  CHECK_FALSE(recalibration_due({}, 200, 500));
  CHECK(recalibration_due({}, 5000, 19));
  CHECK_FALSE(recalibration_due({}, 5000, 20));
  CHECK(recalibration_due({When::always, 10}, 5000, 500));
  CHECK_FALSE(recalibration_due({When::off, 10}, 1, 1));
}

TEST_CASE("recalibration: after a few steps running averages mislead, and statistics anew do not") {
  const Colours data("p", 24, true), val("v", 40, true);
  TrainSettings settings = small_settings();
  settings.epochs = 2;
  // Weights far smaller than He's, as InceptionV3's start: batch norm undoes that in training, but running variances
  // that begin at 1 hide it for long. They stay small, for a step of theirs would be large.
  settings.optimizer.lr_factors = {{"conv1.weight", 0}, {"conv2.weight", 0}};
  const Scratch scratch;
  const auto train = [&](SmallRun& run, const char* state) {
    for (Conv2d* conv : {&run.network.conv1, &run.network.conv2})
      conv->weight.value.copy_from(scale(conv->weight.value.detached(), 0.03));
    run_small(run, settings, data, &val, nullptr, scratch / state);
  };
  SmallRun lagging, mended;
  settings.recalibrate.when = RecalibrationSettings::When::off;
  train(lagging, "lagging");
  settings.recalibrate = {};
  train(mended, "mended");
  const EpochReport &before = lagging.reports[1], &after = mended.reports[1];
  // The weights and the training are the same: only what evaluation reads differs.
  CHECK(before.train.loss == after.train.loss);
  CHECK(bytes_of(lagging.network.fc.weight.value) == bytes_of(mended.network.fc.weight.value));
  CHECK(before.recalibrated == 0);
  CHECK(after.recalibrated == 24);
  MESSAGE("validation loss ", before.val->loss, " and accuracy ", before.val->accuracy, " with running averages, ",
          after.val->loss, " and ", after.val->accuracy, " with statistics anew");
  CHECK(before.val->loss > 0.6);  // guessing's is 0.69
  CHECK(before.val->accuracy <= 0.75);
  CHECK(after.val->loss < 0.5);
  CHECK(after.val->accuracy >= 0.9);
}
