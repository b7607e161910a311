// What a run trains: the network's description, how its pixels are normalised, and the fingerprint of all that
// determines the run's bits.
#include <cstdio>

#include "engine/core/check.h"
#include "engine/data/measure.h"
#include "engine/group/group.h"
#include "engine/io/file.h"
#include "models/graph/int8_layers.h"
#include "tools/cli/progress.h"
#include "tools/run/ranks.h"
#include "tools/run/seen_pictures.h"
#include "tools/run/training.h"

namespace retort {
namespace {

/// A packed set's own pixels say how they are normalised, unless flags do or a file may know.
bool is_measured(const TrainingRun& run) {
  const DataOptions& data = run.options.data;
  return run.data.train->native_size() > 0 && run.options.weights.empty() && data.mean.empty() && data.std.empty();
}

/// Grey pixels as a network of three channels sees them, and colour for one channel: the mean of the three.
PixelStatistics in_channels(PixelStatistics pixels, std::int64_t channels) {
  const auto to = [&](std::vector<double>& values) {
    if (static_cast<std::int64_t>(values.size()) == channels) return;
    double sum = 0;
    for (const double value : values) sum += value;
    values.assign(static_cast<std::size_t>(channels), sum / static_cast<double>(values.size()));
  };
  to(pixels.mean);
  to(pixels.std);
  return pixels;
}

/// Numbers as a list, short.
std::string short_list(const std::vector<double>& values) {
  std::string list;
  for (const double value : values) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%.4f", value);
    list += (list.empty() ? "" : ", ") + std::string(digits);
  }
  return list;
}

Fingerprint print_of(const TrainingRun& run, const ModelSpec& spec, bool with_length);

}  // namespace

ModelSpec describe(const TrainingRun& run) {
  const Dataset& train = *run.data.train;
  ModelSpec spec;
  spec.architecture = run.architecture;
  spec.head = run.options.head;
  if (run.architecture == kGraph) spec.graph = load_spec(run.options.weights).graph;
  check_trains(spec, run.options.weights);
  spec.classes = train.labelled() ? train.classes() : run.guidance.classes;
  spec.auxiliary = run.options.auxiliary;
  spec.notes = run.guidance.notes;
  spec.notes[kSeenNote] = remember_pictures(train);
  if (run.data.reading && run.data.reading->val_split) spec.notes[kValSplitNote] = plain(*run.data.reading->val_split);
  spec.preprocessing = preprocessing_of(run.architecture, run.options.weights, run.options.data, &train);
  if (is_measured(run)) {
    const PixelStatistics pixels = in_channels(measure_pixels(train), spec.preprocessing.channels);
    spec.preprocessing.mean = pixels.mean;
    spec.preprocessing.std = pixels.std;
  }
  return spec;
}

Fingerprint fingerprint_of(const TrainingRun& run, const ModelSpec& spec) {
  return print_of(run, spec, run.resume == Resume::always);
}

namespace {

Fingerprint print_of(const TrainingRun& run, const ModelSpec& spec, bool with_length) {
  Fingerprint print = run.guidance.fingerprint;
  print["model"] = spec.architecture;
  print["classes"] = joined(spec.classes);
  print["samples"] = std::to_string(run.data.train->size());
  print[kLabelsEntry] = label_hash({run.data.train.get(), run.data.val.get()});
  print["--image-size"] = std::to_string(spec.preprocessing.image_size);
  print["weights"] = run.options.weights.empty() ? "" : file_hash(run.options.weights);
  print["warm start"] = run.options.warm_start.empty() ? "" : file_hash(run.options.warm_start);
  const Augmentation& seen = run.guidance.augmentation;
  print["--augment"] = text(seen.flip, seen.crop, seen.jitter, seen.erase ? "e" : "", seen.randaugment ? "r" : "");
  print["pixels"] =
      is_measured(run) ? text(short_list(spec.preprocessing.mean), "; ", short_list(spec.preprocessing.std)) : "";
  TrainingOptions options = run.options;
  const PrintFlags flag{.fingerprint = print, .finished_runs_count = with_length};
  visit_flags(options.common, flag);
  visit_flags(options.data, flag);
  visit_flags(options, flag);
  print["processes"] = group().size() > 1 ? std::to_string(group().size()) : "";
  return print;
}

}  // namespace

void check_ranks(const TrainingRun& run, const ModelSpec& spec) {
  Fingerprint mine = print_of(run, spec, /*with_length=*/true);
  mine["--resume and --restart"] = std::to_string(static_cast<int>(run.resume));
  check_ranks(std::move(mine));
}

void say_normalisation(const TrainingRun& run, const ModelSpec& spec) {
  const DataOptions& data = run.options.data;
  const std::string numbers =
      text("mean ", short_list(spec.preprocessing.mean), ", deviation ", short_list(spec.preprocessing.std));
  if (is_measured(run))
    say(run.options.common.quiet, text("pixels: normalised by the training set's own ", numbers));
  else if (!run.options.weights.empty() && data.mean.empty() && data.std.empty() &&
           !saved_preprocessing(run.options.weights))
    say(run.options.common.quiet,
        text("pixels: ", run.options.weights, " does not say how it takes them; normalised by ", numbers,
             " (--mean and --std give others)"));
}

}  // namespace retort
