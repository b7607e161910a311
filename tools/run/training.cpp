#include "tools/run/training.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/run/report.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

std::string with_suffix(const std::string& out, const char* suffix) {
  return out.substr(0, out.size() - std::string_view(".safetensors").size()) + suffix;
}

/// Shortest text that reads back to the same bits.
std::string exact(double value) { return Json(value).dump(); }
std::string exact(const std::vector<double>& values) { return values.empty() ? "" : Json(values).dump(); }

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

double default_lr(const std::string& optimizer) { return optimizer == "sgd" ? 0.02 : 0.001; }

TrainSettings settings_of(const TrainingOptions& options, const Guidance& guidance) {
  TrainSettings settings;
  settings.epochs = options.epochs;
  settings.batch_size = options.batch_size;
  settings.optimizer.kind = options.optimizer == "sgd"    ? OptimizerKind::sgd
                            : options.optimizer == "adam" ? OptimizerKind::adam
                                                          : OptimizerKind::adamw;
  settings.optimizer.momentum = options.momentum;
  settings.optimizer.nesterov = options.nesterov;
  settings.optimizer.weight_decay = options.weight_decay;
  settings.optimizer.max_norm = options.max_norm;
  settings.schedule.kind = options.schedule == "constant" ? ScheduleKind::constant
                           : options.schedule == "cosine" ? ScheduleKind::cosine
                           : options.schedule == "step"   ? ScheduleKind::step
                                                          : ScheduleKind::plateau;
  settings.schedule.lr = options.lr.value_or(default_lr(options.optimizer));
  settings.schedule.warmup_epochs = options.warmup_epochs;
  settings.label_smoothing = options.label_smoothing;
  settings.mixup = options.mixup;
  settings.augmentation = guidance.augmentation;
  settings.dropout = options.dropout;
  settings.auxiliary_weight = options.auxiliary ? 0.4 : 0;  // Szegedy et al. 1512.00567 as trained by torchvision
  settings.early_stop = options.early_stop;
  settings.checkpoint_every = options.checkpoint_every;
  settings.seed = options.common.seed;
  settings.view_seed = guidance.view_seed;
  settings.views = guidance.views;
  settings.workers = std::clamp(num_threads(), 1, 4);
  settings.distillation = guidance.settings;
  settings.objective = guidance.schedule;
  return settings;
}

/// Everything that determines the bits of a run on one device with as many threads, except its length: more epochs may
/// be asked for on resuming. Commands of many runs read what is finished, so there the length must be the same, too.
Fingerprint fingerprint_of(const TrainingOptions& options, const ModelSpec& spec, const TrainingData& data,
                           const Guidance& guidance) {
  Fingerprint print = guidance.fingerprint;
  print["model"] = spec.architecture;
  print["classes"] = join(spec.classes);
  print["samples"] = std::to_string(data.train->size());
  print["--image-size"] = std::to_string(spec.preprocessing.image_size);
  print["--mean"] = exact(options.data.mean);
  print["--std"] = exact(options.data.std);
  print["weights"] = options.weights.empty() ? "" : file_hash(options.weights);
  print["--no-winograd"] = options.common.no_winograd ? "on" : "";
  print["--batch-size"] = std::to_string(options.batch_size);
  print["--lr"] = exact(options.lr.value_or(default_lr(options.optimizer)));
  print["--optimizer"] = options.optimizer;
  print["--momentum"] = exact(options.momentum);
  print["--nesterov"] = options.nesterov ? "on" : "off";
  print["--weight-decay"] = exact(options.weight_decay);
  print["--schedule"] = options.schedule;
  print["--warmup-epochs"] = exact(options.warmup_epochs);
  print["--label-smoothing"] = exact(options.label_smoothing);
  print["--augment"] = text(guidance.augmentation.flip, guidance.augmentation.crop, guidance.augmentation.jitter);
  print["--mixup"] = exact(options.mixup);
  print["--freeze"] = join(options.freeze);
  print["--dropout"] = options.dropout ? exact(*options.dropout) : "";
  print["--max-norm"] = exact(options.max_norm);
  print["--seed"] = std::to_string(options.common.seed);
  print["--precision"] = options.precision == "fp32" ? "" : options.precision;
  print["--aux"] = options.auxiliary ? "on" : "off";
  if (options.always_resume) {
    print["epochs"] = std::to_string(options.epochs);
    print["--early-stop"] = std::to_string(options.early_stop);
  }
  return print;
}

void freeze(Network& network, const std::vector<std::string>& patterns, bool quiet) {
  for (const std::string& pattern : patterns) {
    std::int64_t tensors = 0;
    for (Parameter* parameter : parameters(network)) {
      const std::string& name = parameter->name;
      if (fnmatch(pattern.c_str(), name.c_str(), 0) != 0 && !name.starts_with(pattern + ".") && name != pattern)
        continue;
      parameter->frozen = true;
      parameter->value = parameter->value.detached();
      ++tensors;
    }
    if (tensors == 0)
      throw UsageError(text("--freeze: no parameter matches '", pattern, "'; `retort summary` lists the names"));
    say(quiet, text("frozen: ", tensors, " tensors match ", pattern));
  }
  const auto all = parameters(network);
  if (std::none_of(all.begin(), all.end(), [](const Parameter* p) { return p->value.requires_grad(); }))
    throw UsageError("--freeze: leaves nothing to train; freeze less");
}

std::int64_t trainable_count(Network& network) {
  std::int64_t count = 0;
  for (const Parameter* parameter : parameters(network))
    if (!parameter->buffer) count += parameter->value.count();
  return count;
}

Json metrics_json(const EpochMetrics& metrics, bool taught) {
  Json json = {{"loss", metrics.loss}, {"hard_loss", metrics.hard}};
  if (taught) json["soft_loss"] = metrics.soft;
  json["accuracy"] = metrics.accuracy;
  json["top5_accuracy"] = metrics.top5;
  if (taught) json["kl"] = metrics.kl;
  return json;
}

/// The flat object of the log: train_loss, val_loss, ...
Json report_json(const EpochReport& report, bool taught, bool val_taught) {
  Json json = {{"epoch", report.epoch}, {"step", report.step}, {"lr", report.lr}};
  const auto add = [&json](const std::string& prefix, const Json& metrics) {
    for (const auto& [key, value] : metrics.items()) json[prefix + key] = value;
  };
  if (report.distillation) {
    json["temperature"] = report.distillation->temperature;
    json["lambda"] = report.distillation->lambda;
    json["soft_weight"] = report.distillation->soft_weight;
  }
  add("train_", metrics_json(report.train, taught));
  if (report.distillation) {
    json["train_hard_gradient"] = report.train.gradients.hard;
    json["train_soft_gradient"] = report.train.gradients.soft;
  }
  if (report.val) add("val_", metrics_json(*report.val, val_taught));
  json["selected"] = report.selected;
  json["images_per_second"] = report.images_per_second;
  json["seconds"] = report.seconds;
  return json;
}

std::string report_line(const EpochReport& report, std::int64_t epochs, bool taught, bool val_taught, bool labelled) {
  char buffer[160];
  std::string line;
  const auto append = [&](const char* format, auto... values) {
    std::snprintf(buffer, sizeof buffer, format, values...);
    line += buffer;
  };
  const auto part = [&](const char* name, const EpochMetrics& metrics, bool soft) {
    append("  %s loss %.4f", name, metrics.loss);
    if (soft) append(" (hard %.4f soft %.4f) kl %.4f", metrics.hard, metrics.soft, metrics.kl);
    if (labelled) append(" acc %.2f%%", 100 * metrics.accuracy);
  };
  append("epoch %lld/%lld  lr %.4g", static_cast<long long>(report.epoch), static_cast<long long>(epochs), report.lr);
  part("train", report.train, taught);
  if (report.val) part("val", *report.val, val_taught);
  append("%s  %.1f img/s  %.1f s", report.selected ? " *" : "", report.images_per_second, report.seconds);
  return line;
}

/// One JSON line an epoch. A resumed run keeps the lines of the epochs that it does not run again.
class Log {
 public:
  Log(const std::string& path, std::int64_t first_epoch) : path_(path) {
    if (path.empty()) return;
    check_writable(path);
    std::string kept;
    std::ifstream old(path);
    for (std::string line; first_epoch > 0 && std::getline(old, line);) {
      const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.value("epoch", first_epoch + 1) <= first_epoch) kept += line + "\n";
    }
    write_atomic(path, kept);
    stream_.open(path, std::ios::app);
  }
  void add(const Json& json) {
    if (path_.empty()) return;
    stream_ << json_text(json) << std::endl;
    check(stream_.good(), path_, ": cannot write the log; free some space and resume");
  }

 private:
  std::string path_;
  std::ofstream stream_;
};

}  // namespace

TrainingData open_training_data(const TrainingOptions& options, bool allow_unlabelled) {
  TrainingData data;
  data.train = open_data(options.data, options.common, Split::train, allow_unlabelled);
  // --val-split 0 trains on everything; a set with a validation part of its own still uses that.
  try {
    data.val = open_data(options.data, options.common, Split::val, allow_unlabelled);
  } catch (const NoSamples&) {
    if (options.data.val_split > 0) throw;
  }
  if (data.val && data.val->size() == 0) data.val = nullptr;
  return data;
}

TrainingOutcome run_training(const TrainingOptions& options, const std::string& architecture, const TrainingData& data,
                             Guidance guidance) {
  const bool quiet = options.common.quiet;
  if (!options.report.empty()) check_writable(options.report);
  const Dataset& train = *data.train;
  const bool taught = guidance.teacher != nullptr;

  ModelSpec spec;
  spec.architecture = architecture;
  spec.classes = train.labelled() ? train.classes() : guidance.classes;
  spec.auxiliary = options.auxiliary;
  spec.notes = guidance.notes;
  spec.preprocessing = preprocessing_of(architecture, options.weights, options.data, &train);
  std::unique_ptr<Network> network = make_network(spec, options.common.seed);
  const std::int64_t parameter_count = trainable_count(*network);
  say(quiet,
      text(architecture, ": ", parameter_count, " parameters, ", spec.classes.size(), " classes, images ",
           spec.preprocessing.image_size, " x ", spec.preprocessing.image_size, " x ", spec.preprocessing.channels,
           "; ", train.size(), " to train on, ", data.val ? data.val->size() : 0, " to validate"));
  if (!options.weights.empty())
    for (const std::string& line : load_weights(*network, spec, options.weights, /*replace_head=*/true).lines)
      say(quiet, line);
  freeze(*network, options.freeze, quiet);
  to_device(*network, compute_device(options.common));

  TrainingOutcome outcome;
  outcome.model = options.out;
  outcome.parameters = parameter_count;
  const std::string best = with_suffix(options.out, ".best.safetensors");
  const std::string state = with_suffix(options.out, ".state.safetensors");
  std::optional<Log> log;
  std::optional<Progress> bar;
  TrainHooks hooks;
  hooks.step_done = [&](std::int64_t epoch, std::int64_t samples, double loss) {
    if (!bar) bar.emplace(text("epoch ", epoch + 1, "/", options.epochs), train.size(), quiet);
    char note[32];
    std::snprintf(note, sizeof note, "loss %.4f", loss);
    bar->update(samples, note);
  };
  hooks.validation_step_done = [&](std::int64_t done) {
    if (done <= options.batch_size) bar.emplace("validation", data.val->size(), quiet);
    bar->update(done);
  };
  hooks.epoch_done = [&](const EpochReport& report) {
    bar.reset();
    outcome.history.push_back(report);
    log->add(report_json(report, taught, guidance.val != nullptr));
    say(quiet, report_line(report, options.epochs, taught, guidance.val != nullptr, train.labelled()));
  };
  hooks.save_selected = [&] { save_model(best, *network, spec); };
  hooks.save_checkpoint = [&] { save_model(options.out, *network, spec); };
  hooks.should_stop = interrupted;

  const TrainingParts parts{.network = *network,
                            .preprocessing = spec.preprocessing,
                            .classes = static_cast<std::int64_t>(spec.classes.size()),
                            .train = train,
                            .val = data.val.get(),
                            .teacher = guidance.teacher.get(),
                            .val_teacher = guidance.val,
                            .precision = options.precision == "bf16" ? DType::bf16 : DType::f32};
  const Fingerprint fingerprint = fingerprint_of(options, spec, data, guidance);
  Trainer trainer(parts, settings_of(options, guidance), hooks, state, fingerprint);
  const bool resume = options.resume || options.always_resume;
  if (resume && std::filesystem::exists(state)) {
    trainer.resume();
    say(quiet,
        text("resumed from ", state, " at step ", trainer.progress().step, ", epoch ", trainer.progress().epoch + 1));
  } else {
    if (options.resume) say(quiet, text(state, ": not there; starting from the beginning"));
    std::filesystem::remove(state);  // an older run's state must not be resumed in this one's name
    std::filesystem::remove(best);
  }
  log.emplace(options.log, trainer.progress().epoch);
  catch_interrupts();
  const bool finished = trainer.run();
  bar.reset();
  if (!finished) {
    say(false, options.starts_over ? std::string("stopped; the same command starts over")
                                   : text("stopped; continue with the same command",
                                          options.always_resume ? "" : " and --resume", " (state in ", state, ")"));
    throw Interrupted{};
  }
  outcome.selected_epoch = trainer.progress().selected_epoch;
  outcome.selected_accuracy = trainer.progress().selected_accuracy;
  if (outcome.selected_epoch > 0) outcome.selected_model = best;
  say(quiet,
      text("saved ", options.out,
           outcome.selected_epoch > 0 ? text("; best on validation: epoch ", outcome.selected_epoch, " in ", best)
                                      : std::string()));
  if (!options.report.empty()) {
    write_report(options.report, {options, spec, *network, data, guidance, fingerprint, outcome});
    say(quiet, text("saved ", options.report));
  }
  return outcome;
}

void print_outcome_json(const TrainingOutcome& outcome) {
  Json json = {{"model", outcome.model}, {"parameters", outcome.parameters}};
  if (!outcome.selected_model.empty())
    json["selected"] = {
        {"model", outcome.selected_model}, {"epoch", outcome.selected_epoch}, {"accuracy", outcome.selected_accuracy}};
  json["epochs"] = Json::array();
  for (const EpochReport& report : outcome.history) json["epochs"].push_back(report_json(report, true, true));
  std::cout << json_text(json) << std::endl;
}

}  // namespace retort
