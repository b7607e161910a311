// retort bias: shifts the bias of classes that a student never saw, tuned on labelled images (see
// engine/distill/bias.h).
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/bias.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

struct BiasOptions {
  CommonOptions common;
  DataOptions data;
  std::string model, out;
  std::vector<std::string> shift;
  std::int64_t batch_size = 128;
};

template <class Visitor>
void visit_flags(BiasOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = kSplitHelp});
  flag("--model", o.model, "Model file", required(anything()));
  flag("--shift", o.shift, "The classes, all by one number", required(anything()));
  flag("--batch-size", o.batch_size, "Images at a time", whole_number(1));
  flag("-o,--out", o.out, "Model to write (.safetensors)", required(file_name(".safetensors")));
}

void run_bias(const BiasOptions& options) {
  apply_common_options(options.common);
  std::error_code none;
  if (std::filesystem::equivalent(options.model, options.out, none))
    throw UsageError(text("--out: ", options.out, " is the model itself; name another file"));
  check_writable(options.out);
  const auto dataset =
      open_data(options.data, options.common, options.data.split.value_or(Split::val), /*allow_unlabelled=*/false);
  Model model = load_model(options.model);
  check_teacher_classes(model, options.model, dataset->classes());
  model.spec.preprocessing = preprocessing_for(options.data, model.spec.preprocessing);
  std::vector<std::int64_t> classes;
  for (const std::string& name : options.shift) {
    const auto found = std::ranges::find(model.spec.classes, name);
    if (found == model.spec.classes.end())
      throw UsageError(text("--shift: no class '", name, "' in ", options.model, "; give names of its classes"));
    classes.push_back(found - model.spec.classes.begin());
  }
  if (classes.size() >= model.spec.classes.size()) throw UsageError("--shift: names every class; leave some out");

  const auto count = static_cast<std::int64_t>(model.spec.classes.size());
  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.workers = std::min(4, num_threads());
  loading.preprocessings = {model.spec.preprocessing};
  to_device(*model.network, compute_device(options.common));
  Tensor logits = Tensor::empty({dataset->size(), count}), labels = Tensor::empty({dataset->size()}, DType::i64);
  Loader loader(*dataset, loading);
  loader.start(0, 0);
  std::int64_t done = 0;
  for (Batch batch; loader.next(batch);) {
    const Tensor z = infer(*model.network, batch.inputs[0]).to(Device::cpu);
    std::memcpy(logits.data<float>() + done * count, z.raw(), z.bytes());
    std::memcpy(labels.data<std::int64_t>() + done, batch.labels.raw(), batch.labels.bytes());
    done += z.shape()[0];
  }
  const Shift shift = best_shift(logits, labels, classes);
  to_device(*model.network, Device::cpu);
  Parameter& bias = *head_of(*model.network).bias;
  for (const std::int64_t index : classes) bias.value.data<float>()[index] += static_cast<float>(shift.value);
  model.spec.notes["bias-shift"] = text(shift.value);
  save_model(options.out, *model.network, model.spec);
  say(options.common.quiet, text("bias shifted by ", shift.value, ": ", shift.errors_before, " errors before, ",
                                 shift.errors, " after, of ", dataset->size(), " images; saved ", options.out));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"shift", shift.value},
                                                  {"errors_before", shift.errors_before},
                                                  {"errors", shift.errors},
                                                  {"samples", dataset->size()},
                                                  {"model", options.out}})
              << std::endl;
}

}  // namespace

void add_bias_command(CLI::App& app) {
  add_command<BiasOptions>(app, "bias", "Shifts the bias of classes that a student never saw", run_bias);
}

}  // namespace retort
