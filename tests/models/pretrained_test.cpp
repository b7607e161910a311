// Networks trained elsewhere, where the real data are at hand.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "engine/distill/evaluate.h"
#include "tests/engine/data_files.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("ResNets trained elsewhere know the first 1,000 test images of CIFAR-10") {
  const std::string weights = real_data("pretrained"), packed = real_data("cifar10");
  const Scratch folder;
  const std::string unpack = "xz -dc '" + packed + "/test_batch.bin.xz' > '" + (folder / "test_batch.bin") + "'";
  if (weights.empty() || packed.empty() || std::system(unpack.c_str()) != 0) {
    MESSAGE("skipped: no folders pretrained and cifar10 in RETORT_DATA, or no xz");
    return;
  }
  // The first records; a record is a label and 3 * 32 * 32 bytes.
  std::filesystem::resize_file(folder / "test_batch.bin", 1000 * 3073);
  DatasetOptions options;
  options.path = folder / "";
  options.split = Split::test;
  const auto dataset = open_dataset(options);
  const auto correct = [&](const std::string& architecture, const std::string& file) {
    const ModelSpec spec = spec_of(architecture, 10, 32);
    const auto network = make_network(spec, 0);
    CHECK(load_weights(*network, spec, weights + "/" + file, false).lines.empty());
    EvaluateOptions evaluating;
    evaluating.batch_size = 100;
    const Evaluation evaluation = evaluate(*network, *dataset, spec.preprocessing, 10, evaluating);
    CHECK(evaluation.samples == 1000);
    return std::lround(evaluation.accuracy * 1000);
  };
  // As PyTorch counts them.
  CHECK(correct("resnet20_a", "resnet20-12fca82f.safetensors") == 915);
  CHECK(correct("resnet56_a", "resnet56-4bfd9763.safetensors") == 926);
}
