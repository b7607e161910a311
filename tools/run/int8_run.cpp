#include "tools/run/int8_run.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/io/file.h"
#include "models/graph/rehearsal.h"

namespace retort {
namespace {

/// At even distances through the training set, whose classes follow one another.
std::unique_ptr<Dataset> some_of(const std::shared_ptr<const Dataset>& train) {
  const std::int64_t size = train->size(), count = std::min(size, kCalibrationImages);
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(i * size / count);
  return pick_samples(train, std::move(samples));
}

}  // namespace

Int8Run::Int8Run(const TrainingRun& run, const ModelSpec& spec, std::unique_ptr<Network> network) {
  const TrainingOptions& options = run.options;
  Model model;
  model.spec = spec;
  model.network = std::move(network);
  const std::unique_ptr<Dataset> images = some_of(run.data.train);
  calibrated_ = calibrate(model, options.weights, *images, {images_at_a_time(options), options.common.quiet});
  spec_ = int8_spec(spec, calibrated_.small.graph.spec, text("trained so, calibrated on ", images->size(), " images"),
                    file_hash(options.weights));
}

std::unique_ptr<Network> Int8Run::rehearsal() const {
  return network_of(rehearsal_of(calibrated_.small.graph, calibrated_.graph));
}

void Int8Run::save(const std::string& path, Network& rehearsal) const {
  save_model(path, *network_of(with_weights_of(calibrated_.small.graph, rehearsal)), spec_);
}

}  // namespace retort
