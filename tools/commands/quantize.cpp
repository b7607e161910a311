// retort quantize: a model whose layers compute in 8-bit integers, calibrated on images, and what that costs.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"
#include "tools/run/calibrate.h"

namespace retort {
namespace {

struct QuantizeOptions {
  CommonOptions common;
  DataOptions data;
  std::string model, out;
  std::int64_t images = kCalibrationImages;
  std::int64_t batch_size = 32;
};

template <class Visitor>
void visit_flags(QuantizeOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = "Judged on: {} (default: test, else all)"});
  flag("--model", o.model, "Model file", required(anything()));
  flag("--images", o.images, "To calibrate on, spread over the classes; of the training part where there is one",
       whole_number(1));
  flag("--batch-size", o.batch_size, "Images at a time", whole_number(1));
  flag("-o,--out", o.out, "Model to write (.safetensors)", required(file_name(".safetensors")));
}

std::int64_t largest(const float* row, std::int64_t classes) { return std::max_element(row, row + classes) - row; }

/// How a network answers beside its float self.
struct Judgement {
  std::int64_t samples = 0, labelled = 0, right_before = 0, right_after = 0, agreed = 0;
  double share(std::int64_t count, std::int64_t of) const {
    return of > 0 ? static_cast<double>(count) / static_cast<double>(of) : 0;
  }
  double before() const { return share(right_before, labelled); }
  double after() const { return share(right_after, labelled); }
  double agreement() const { return share(agreed, samples); }

  void add(const Tensor& wide, const Tensor& small, const Tensor& labels) {
    const std::int64_t n = wide.shape()[0], classes = wide.shape()[1];
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t first = largest(wide.data<float>() + i * classes, classes),
                         second = largest(small.data<float>() + i * classes, classes),
                         label = labels ? labels.data<std::int64_t>()[i] : -1;
      ++samples;
      agreed += first == second ? 1 : 0;
      if (label < 0) continue;
      ++labelled;
      right_before += first == label ? 1 : 0;
      right_after += second == label ? 1 : 0;
    }
  }
};

Model load_float_model(const std::string& path) {
  Model model = load_model(path);
  if (!model.spec.graph.empty())
    check(!is_int8(graph_from_json(model.spec.graph, path)), path,
          ": its layers are 8-bit already; give the model that it was made of");
  return model;
}

std::string percent(double share) {
  char words[16];
  std::snprintf(words, sizeof words, "%.2f%%", 100 * share);
  return words;
}

std::string names_of(const std::vector<FloatLayer>& layers) {
  std::string names;
  for (const FloatLayer& layer : layers) names += (names.empty() ? "" : ", ") + layer.name;
  return names;
}

void run_quantize(const QuantizeOptions& options) {
  apply_common_options(options.common);
  if (options.common.device && *options.common.device != Device::cpu)
    throw UsageError("--device: 8-bit layers run on the CPU alone; leave it out");
  std::error_code none;
  if (std::filesystem::equivalent(options.model, options.out, none))
    throw UsageError(text("--out: ", options.out, " is the model itself; name another file"));
  check_writable(options.out);
  Model model = load_float_model(options.model);
  const DataReading reading = read_data(options.data, /*allow_unlabelled=*/true);
  const bool whole = reading.undivided() || (!options.data.split && !reading.test);
  const auto judged = open_data(options.data, options.common, options.data.split.value_or(Split::test),
                                /*allow_unlabelled=*/true, whole && !options.data.split);
  DataOptions some = options.data;
  some.limit = std::min(options.images, options.data.limit.value_or(options.images));
  const auto images = open_data(some, options.common, Split::train, /*allow_unlabelled=*/true, whole);
  if (judged->labelled())
    check(judged->classes() == model.spec.classes, options.data.path, ": its classes are not those of ", options.model,
          "; give pictures of its classes, or a flat folder");
  const Preprocessing input = preprocessing_for(options.data, model.spec.preprocessing);
  model.spec.preprocessing = input;

  catch_interrupts();
  const CalibrationOptions how{options.batch_size, options.common.quiet};
  const QuantizedGraph small = calibrate(model, options.model, *images, how).small;

  const std::unique_ptr<Network> network = network_of(small.graph);
  Judgement judgement;
  for_each_batch(*judged, input, how, "judging", [&](const Batch& batch) {
    judgement.add(infer(*model.network, batch.inputs[0]), infer(*network, batch.inputs[0]), batch.labels);
  });

  ModelSpec spec =
      int8_spec(model.spec, small.graph.spec, text("calibrated on ", images->size(), " images"), model.hash());
  spec.notes["agreement_with_float"] = text(percent(judgement.agreement()), " of ", judgement.samples);
  if (judgement.labelled > 0)
    spec.notes["accuracy_int8"] =
        text(percent(judgement.after()), ", float ", percent(judgement.before()), ", of ", judgement.labelled);
  if (!small.kept.empty()) spec.notes["float_layers"] = names_of(small.kept);
  save_model(options.out, *network, spec);

  const std::uintmax_t bytes = std::filesystem::file_size(options.out);
  if (options.common.json) {
    nlohmann::ordered_json json = {{"out", options.out},
                                   {"bytes", bytes},
                                   {"bytes_float", std::filesystem::file_size(options.model)},
                                   {"calibrated_on", images->size()},
                                   {"samples", judgement.samples},
                                   {"agreement", judgement.agreement()}};
    if (judgement.labelled > 0) {
      json["accuracy_float"] = judgement.before();
      json["accuracy_int8"] = judgement.after();
    }
    json["int8_layers"] = small.quantized;
    json["float_layers"] = nlohmann::ordered_json::array();
    for (const FloatLayer& layer : small.kept)
      json["float_layers"].push_back({{"name", layer.name}, {"why", layer.why}});
    std::cout << json_text(json) << std::endl;
    return;
  }
  std::printf("%-20s %zu\n", "layers in 8 bits", small.quantized.size());
  std::printf("%-20s %zu\n", "layers in float", small.kept.size());
  for (const FloatLayer& layer : small.kept)
    std::printf("  %s: %s\n", visible_name(layer.name).c_str(), layer.why.c_str());
  if (judgement.labelled > 0)
    std::printf("%-20s %s in 8 bits, %s in float, of %lld images\n", "accuracy", percent(judgement.after()).c_str(),
                percent(judgement.before()).c_str(), static_cast<long long>(judgement.labelled));
  std::printf("%-20s %s of %lld images\n", "same answer", percent(judgement.agreement()).c_str(),
              static_cast<long long>(judgement.samples));
  std::fflush(stdout);
  say(options.common.quiet, text("saved ", options.out, ": ", bytes, " bytes"));
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  add_command<QuantizeOptions>(app, "quantize", "Makes a model whose layers compute in 8-bit integers", run_quantize);
}

}  // namespace retort
