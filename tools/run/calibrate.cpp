#include "tools/run/calibrate.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "kernels/threads.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"

namespace retort {

void for_each_batch(const Dataset& dataset, const Preprocessing& input, const CalibrationOptions& options,
                    const char* label, const std::function<void(const Batch&)>& use) {
  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.workers = std::min(4, num_threads());
  loading.cache_bytes = 0;
  loading.preprocessings = {input};
  Loader loader(dataset, loading);
  Progress bar(label, dataset.size(), options.quiet);
  std::int64_t done = 0;
  loader.start(0, 0);
  for (Batch batch; loader.next(batch);) {
    if (interrupted()) throw Interrupted{};
    use(batch);
    done += static_cast<std::int64_t>(batch.indices.size());
    bar.update(done);
  }
}

namespace {

/// The squared error of the logits, relative to their own square.
double logit_error(Network& wide, Network& small, const Dataset& dataset, const Preprocessing& input,
                   const CalibrationOptions& options) {
  double error = 0, square = 0;
  for_each_batch(dataset, input, options, "comparing", [&](const Batch& batch) {
    const Tensor a = infer(wide, batch.inputs[0]), b = infer(small, batch.inputs[0]);
    for (std::int64_t i = 0; i < a.count(); ++i) {
      const double difference = double{a.data<float>()[i]} - b.data<float>()[i];
      error += difference * difference;
      square += double{a.data<float>()[i]} * a.data<float>()[i];
    }
  });
  return square > 0 ? error / square : 0;
}

/// The first and the last layer stay in float where that alone takes away half of the logits' error or more.
std::set<std::string> layers_to_keep(const PlainGraph& graph, const std::vector<Quantization>& forms, Network& wide,
                                     const Dataset& images, const Preprocessing& input,
                                     const CalibrationOptions& options) {
  constexpr double kWorth = 0.5;
  const QuantizedGraph all = quantize_graph(graph, forms, {});
  if (all.quantized.empty()) return {};
  const double error = logit_error(wide, *network_of(all.graph), images, input, options);
  std::set<std::string> keep;
  for (const std::string& layer : {all.quantized.front(), all.quantized.back()}) {
    const QuantizedGraph without = quantize_graph(graph, forms, {layer});
    const double left = logit_error(wide, *network_of(without.graph), images, input, options);
    const bool kept = left < kWorth * error;
    say(options.quiet, text(layer, kept ? ": stays in float" : ": 8 bits", "; in float the logits' squared ",
                            "error would be ", left, " of their square, in 8 bits ", error));
    if (kept) keep.insert(layer);
  }
  return keep;
}

}  // namespace

CalibratedNetwork calibrate(Model& model, const std::string& path, const Dataset& images,
                            const CalibrationOptions& options) {
  const Preprocessing& input = model.spec.preprocessing;
  CalibratedNetwork result{plain_graph(model), {}};
  fold_batch_norm(result.graph);
  Calibration calibration(result.graph);
  for_each_batch(images, input, options, "calibrating",
                 [&](const Batch& batch) { calibration.see_range(batch.inputs[0]); });
  for_each_batch(images, input, options, "calibrating",
                 [&](const Batch& batch) { calibration.see_values(batch.inputs[0]); });
  const std::vector<Quantization> forms = calibration.forms();
  const std::set<std::string> keep = layers_to_keep(result.graph, forms, *model.network, images, input, options);
  result.small = quantize_graph(result.graph, forms, keep);
  check(!result.small.quantized.empty(), path,
        ": none of its layers can be computed in 8 bits; convolutions without groups and linear layers can");
  return result;
}

ModelSpec int8_spec(ModelSpec spec, const GraphSpec& small, const std::string& how, const std::string& hash) {
  spec.notes["quantized"] = "int8, " + how;
  spec.notes["quantized_from"] = text(spec.architecture, " ", hash);
  spec.architecture = kGraph;
  spec.head.clear();
  spec.auxiliary = false;
  spec.graph = to_json(small);
  return spec;
}

}  // namespace retort
