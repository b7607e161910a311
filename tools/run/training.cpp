#include "tools/run/training.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/core/check.h"
#include "engine/group/group.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/nn/lr_factors.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/run/int8_run.h"
#include "tools/run/log.h"
#include "tools/run/recipe.h"
#include "tools/run/report.h"
#include "tools/run/seen_pictures.h"
#include "tools/run/stock_model.h"
#include "tools/run/tensorboard.h"

namespace retort {
namespace {

constexpr double kAuxiliaryWeight = 0.4;  // Szegedy et al. 1512.00567 as trained by torchvision

std::string with_suffix(const std::string& model, const char* suffix) {
  return model.substr(0, model.size() - std::string_view(".safetensors").size()) + suffix;
}

TrainSettings settings_of(const TrainingRun& run, Network& network) {
  const TrainingOptions& options = run.options;
  TrainSettings settings;
  settings.epochs = *options.epochs;
  settings.batch_size = options.batch_size;
  settings.accumulate = options.accumulate;
  settings.sync_batch_norm = options.sync_batch_norm;
  settings.optimizer.kind = options.optimizer;
  settings.optimizer.momentum = options.momentum;
  settings.optimizer.nesterov = options.nesterov;
  settings.optimizer.weight_decay = weight_decay_of(options);
  settings.optimizer.decay_vectors = !options.no_norm_decay;
  if (options.head_lr || options.layer_decay != 1)
    settings.optimizer.lr_factors = learning_rate_factors(
        network,
        {.head = options.head_lr.value_or(lr_of(options)) / lr_of(options), .layer_decay = options.layer_decay});
  if (options.unfreeze_every > 0) {
    const double steps_per_epoch =
        std::ceil(static_cast<double>(run.data.train->size()) / static_cast<double>(options.batch_size));
    settings.optimizer.first_steps = unfreezing_steps(network, std::llround(options.unfreeze_every * steps_per_epoch));
  }
  settings.optimizer.max_norm = options.max_norm;
  settings.schedule.kind = options.schedule;
  settings.schedule.lr = lr_of(options);
  settings.schedule.milestones = options.milestones;
  settings.schedule.warmup_epochs = options.warmup_epochs;
  settings.label_smoothing = options.label_smoothing;
  settings.mixup = options.mixup;
  settings.cutmix = options.cutmix;
  settings.ema = options.ema;
  settings.recalibrate = recalibration_of(options);
  settings.augmentation = run.guidance.augmentation;
  settings.dropout = options.dropout;
  settings.auxiliary_weight = options.auxiliary ? kAuxiliaryWeight : 0;
  settings.early_stop = options.early_stop;
  settings.checkpoint_every = options.checkpoint_every;
  settings.keep_state = run.files.keep_state;
  settings.seed = options.common.seed;
  settings.view_seed = run.guidance.view_seed;
  settings.views = run.guidance.views;
  settings.unlabelled_share = run.guidance.unlabelled_share;
  settings.workers = std::clamp(num_threads(), 1, 4);
  settings.distillation = run.guidance.settings;
  settings.objective = run.guidance.schedule;
  return settings;
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

/// The layer that gives the classes as the seed draws it.
void renew_head(Network& network, const ModelSpec& spec, const CommonOptions& common) {
  const std::unique_ptr<Network> fresh = make_network(spec, common.seed);
  const Head from = head_of(*fresh), to = head_of(network);
  to.weight->value.copy_from(from.weight->value);
  if (to.bias && from.bias) to.bias->value.copy_from(from.bias->value);
  say(common.quiet, text("the layer of ", to.weight->name, " starts from fresh weights (--new-head)"));
}

/// The network with the weights that the run starts from.
std::unique_ptr<Network> start_network(const TrainingRun& run, const ModelSpec& spec) {
  const bool quiet = run.options.common.quiet;
  std::unique_ptr<Network> network = make_network(spec, run.options.common.seed);
  const std::int64_t size = spec.preprocessing.image_size;
  say(quiet, text(spec.architecture, ": ", trainable_count(*network), " parameters, ", spec.classes.size(),
                  " classes, images ", size, " x ", size, " x ", spec.preprocessing.channels, "; ",
                  run.data.train->size(), " to train on, ", run.data.val ? run.data.val->size() : 0, " to validate"));
  if (!run.options.weights.empty())
    for (const std::string& line : load_weights(*network, spec, run.options.weights, /*replace_head=*/true).lines)
      say(quiet, line);
  if (!run.options.warm_start.empty())
    for (const std::string& line : load_fitting_weights(*network, spec, run.options.warm_start).lines) say(quiet, line);
  if (run.options.new_head) renew_head(*network, spec, run.options.common);
  return network;
}

/// Writes the network that a run trains to a model file.
using SaveNetwork = std::function<void(const std::string& path, Network& network)>;

/// What is seen and kept of a run while it goes on.
class Monitor {
 public:
  Monitor(const TrainingRun& run, const ModelSpec& spec, Network& network, SaveNetwork save)
      : run_(run),
        spec_(spec),
        network_(network),
        save_(std::move(save)),
        reported_{.epochs = *run.options.epochs,
                  .taught = run.guidance.teacher != nullptr,
                  .val_taught = run.guidance.val != nullptr,
                  .hinted = !run.guidance.hints.pairs.empty(),
                  .labelled = run.data.train->labelled()} {}

  TrainHooks hooks() {
    TrainHooks hooks;
    hooks.step_done = [this](std::int64_t epoch, std::int64_t samples, double loss) {
      show_step(epoch, samples, loss);
    };
    hooks.validation_step_done = [this](std::int64_t done) { show_validation(done); };
    hooks.epoch_done = [this](const EpochReport& report) { add_epoch(report); };
    hooks.should_stop = interrupted;
    if (!group().is_first()) return hooks;
    hooks.save_selected = [this] {
      save_(run_.files.best(), network_);
      best_is_ours_ = true;
    };
    hooks.save_checkpoint = [this] {
      save_(run_.files.model, network_);
      // An earlier run's best epoch is none of the model that has just taken its place.
      if (!best_is_ours_) std::filesystem::remove(run_.files.best());
      best_is_ours_ = true;
    };
    return hooks;
  }
  /// Before the first step, at the place that a resumed run has reached.
  void begin(const TrainingProgress& progress, const Fingerprint& fingerprint) {
    if (group().is_first() && !run_.files.tensorboard.empty())
      board_.emplace(run_.files.tensorboard, progress.epoch + 1,
                     std::filesystem::path(run_.files.model).stem().string(), fingerprint, spec_.classes);
    log_.emplace(group().is_first() ? run_.files.log : "", progress.epoch);
    best_is_ours_ = progress.selected_epoch > 0;
  }
  void clear_bar() { bar_.reset(); }
  std::vector<EpochReport> take_history() { return std::move(history_); }

 private:
  void show_step(std::int64_t epoch, std::int64_t samples, double loss) {
    if (!bar_) bar_.emplace(text("epoch ", epoch + 1, "/", reported_.epochs), run_.data.train->size(), quiet_);
    char note[32];
    std::snprintf(note, sizeof note, "loss %.4f", loss);
    bar_->update(samples, note);
    say_total(epoch, samples);
  }
  /// How long the whole run takes, once that can be told: after some steps, where it is long enough to ask.
  void say_total(std::int64_t epoch, std::int64_t samples) {
    constexpr double kMeasured = 10, kWorthSaying = 60;  // seconds
    if (total_said_ || quiet_) return;
    const auto now = std::chrono::steady_clock::now();
    const std::int64_t size = run_.data.train->size(), seen = epoch * size + samples;
    if (!first_step_) {
      first_step_ = now;
      first_seen_ = seen;
      return;
    }
    const double seconds = std::chrono::duration<double>(now - *first_step_).count();
    if (seconds < kMeasured || seen <= first_seen_) return;
    total_said_ = true;
    const auto left = static_cast<double>(reported_.epochs * size - seen);
    const double total = seconds / static_cast<double>(seen - first_seen_) * left;
    if (total < kWorthSaying) return;
    clear_bar();
    say(quiet_, text("about ", duration_words(total), " left for all ", reported_.epochs,
                     " epochs at this rate, validation not counted"));
  }
  void show_validation(std::int64_t done) {
    if (done <= run_.options.batch_size) bar_.emplace("validation", run_.data.val->size(), quiet_);
    bar_->update(done);
  }
  void add_epoch(const EpochReport& report) {
    clear_bar();
    history_.push_back(report);
    if (history_.back().val)
      history_.back().val->confusion.clear();  // of many classes, too large to keep of every epoch
    if (board_) board_->add(report, reported_);
    log_->add(report_json(report, reported_));
    say(quiet_, report_line(report, reported_));
    if (report.selected && !std::exchange(star_said_, true))
      say(quiet_, text("* marks the epoch that is best on validation so far, kept in ", run_.files.best()));
    if (report.recalibrated > 0 && !std::exchange(recalibration_said_, true))
      say(quiet_, text("batch norm's statistics were estimated anew over ", report.recalibrated,
                       " training pictures before validating and saving, since the running ones lag behind; "
                       "--bn-recalibrate off keeps these"));
    if (report.epoch == 1) say_if_nothing_learnt(report);
  }
  /// A loss of guessing's after a whole epoch.
  void say_if_nothing_learnt(const EpochReport& report) const {
    const double loss = report.val && report.val->hard > 0 ? report.val->hard : report.train.hard;
    const double guessing = std::log(static_cast<double>(spec_.classes.size()));
    if (!reported_.labelled || spec_.classes.size() < 2 || std::abs(loss - guessing) > 0.01 * guessing) return;
    const TrainingOptions& options = run_.options;
    say(quiet_,
        text("nothing was learnt in this epoch: the labels' loss is that of guessing, ln ", spec_.classes.size(), " = ",
             guessing, "; try ", *options.epochs > 1 ? "" : "more --epochs, ", "another --lr than ", lr_of(options),
             " (a lower one first) or --warmup-epochs 1, and look whether --mean and --std fit "
             "the pixels and the labels the pictures"));
  }

  const TrainingRun& run_;
  const ModelSpec& spec_;
  Network& network_;
  SaveNetwork save_;
  Reported reported_;
  bool quiet_ = run_.options.common.quiet;
  bool recalibration_said_ = false, best_is_ours_ = false, star_said_ = false, total_said_ = false;
  std::optional<std::chrono::steady_clock::time_point> first_step_;
  std::int64_t first_seen_ = 0;
  std::optional<Log> log_;
  std::optional<TensorBoard> board_;
  std::optional<Progress> bar_;
  std::vector<EpochReport> history_;
};

/// Null without hints.
std::unique_ptr<Hints> hints_of(const TrainingRun& run, const ModelSpec& spec, Network& network) {
  const Guidance& guidance = run.guidance;
  if (guidance.hints.pairs.empty()) return nullptr;
  auto hints = std::make_unique<Hints>(guidance.hints, guidance.teacher_layers, layers_of(network, spec.preprocessing),
                                       run.options.common.seed);
  to_device(*hints, device_of(network));
  return hints;
}

TrainingParts parts_of(const TrainingRun& run, const ModelSpec& spec, Network& network, Hints* hints) {
  return {.network = network,
          .preprocessing = spec.preprocessing,
          .classes = static_cast<std::int64_t>(spec.classes.size()),
          .train = *run.data.train,
          .val = run.data.val.get(),
          .teacher = run.guidance.teacher.get(),
          .val_teacher = run.guidance.val,
          .hints = hints,
          .precision = computing_type(run.options)};
}

/// The state is that of a run which did not come to its end: its epochs must not be lost without a word.
void refuse_unfinished(const std::string& state) {
  StateSummary summary;
  try {
    summary = read_state_summary(state);
  } catch (const Error& error) {
    throw Error(text(error.what(), ", or give --restart"));
  }
  check(summary.finished, state, ": the state of a run that is not finished (", summary.epoch, " epochs, ",
        summary.step, " steps); continue that with --resume, or throw it away with --restart");
}

/// Continues the state that is there, or removes it where that was asked for. One of a finished run stays until this
/// run's first checkpoint takes its place.
void resume_or_begin(const TrainingRun& run, Trainer& trainer) {
  const bool quiet = run.options.common.quiet;
  const std::string state = run.files.state();
  const bool first = group().is_first(), there = group().any(first && std::filesystem::exists(state));
  if (there && (run.resume == Resume::demanded || run.resume == Resume::always)) {
    trainer.resume();
    const TrainingProgress& progress = trainer.progress();
    say(quiet, text("resumed from ", state, " at step ", progress.step, ", epoch ", progress.epoch + 1));
    return;
  }
  if (run.resume == Resume::demanded) say(quiet, text(state, ": not there; starting from the beginning"));
  if (first && (run.resume == Resume::never || run.resume == Resume::restart)) std::filesystem::remove(state);
}

std::string how_to_continue(const TrainingRun& run) {
  if (run.resume == Resume::never) return "the same command starts over";
  const char* const how = run.resume == Resume::always    ? ""
                          : run.resume == Resume::restart ? " and --resume in place of --restart"
                                                          : " and --resume";
  return text("continue with the same command", how, " (state in ", run.files.state(), ")");
}

TrainingOutcome outcome_of(const TrainingRun& run, Network& network, const TrainingProgress& progress,
                           std::vector<EpochReport> history) {
  return {.model = run.files.model,
          .selected_model = progress.selected_epoch > 0 ? run.files.best() : "",
          .parameters = trainable_count(network),
          .data = run.data.train ? data_json(run.data.reading, run.data.train->size()) : nullptr,
          .history = std::move(history),
          .epochs_done = progress.epoch,
          .selected_epoch = progress.selected_epoch,
          .selected_accuracy = progress.selected_accuracy};
}

void say_early_stop(const TrainingRun& run, const TrainingProgress& progress) {
  const TrainingOptions& options = run.options;
  if (progress.epoch >= *options.epochs) return;
  say(options.common.quiet, text("stopped after epoch ", progress.epoch, " of ", *options.epochs, ": the ",
                                 run.data.val ? "validation" : "training", " loss has not fallen for ",
                                 progress.epochs_without_gain, " epochs, and --early-stop asks for no more"));
}

void say_saved(const TrainingRun& run, const TrainingOutcome& outcome) {
  std::string line = "saved " + outcome.model;
  if (!outcome.selected_model.empty())
    line += text("; best on validation: epoch ", outcome.selected_epoch, " in ", outcome.selected_model);
  say(run.options.common.quiet, line);
}

/// Writes the page, where one was asked for.
void report_run(const FinishedRun& finished) {
  const RunFiles& files = finished.training.files;
  if (files.report.empty()) return;
  write_report(finished);
  say(finished.training.options.common.quiet, "saved " + files.report);
}

/// Where an earlier call ended, if this run is asked to go on with that and it is finished, and its state was not kept.
/// Throws Error where more is asked for than was done, and by other flags.
std::optional<TrainingProgress> finished_before(const TrainingRun& run, const Fingerprint& fingerprint) {
  const std::string state = run.files.state(), &model = run.files.model;
  const bool asked = run.resume == Resume::demanded || run.resume == Resume::always;
  if (!asked || !std::filesystem::exists(state) || read_state_summary(state).kept) return std::nullopt;
  const TrainingProgress done = load_progress(state, fingerprint);
  const TrainingOptions& options = run.options;
  const bool all =
      done.epoch >= *options.epochs || (options.early_stop > 0 && done.epochs_without_gain >= options.early_stop);
  check(all, model, ": its run is finished after ", done.epoch, " epochs, and the state from which ", *options.epochs,
        " would go on was not kept; start from these weights with --weights ", model,
        " and another --out, or train all of them with --restart (--keep-state keeps a finished run's state)");
  check(std::filesystem::exists(model), model, ": not there, though ", state,
        " says that its run is finished; put it back, or train it with --restart");
  return done;
}

/// The outcome of a run that came to its end in an earlier call.
TrainingOutcome end_again(const TrainingRun& run, const ModelSpec& spec, const Fingerprint& fingerprint,
                          const TrainingProgress& progress) {
  const Model model = load_model(run.files.model);
  Network& network = *model.network;
  to_device(network, compute_device(run.options.common));
  say(run.options.common.quiet,
      text(run.files.model, ": its run is finished, after ", progress.epoch, " epochs; nothing is left to do"));
  TrainingOutcome outcome = outcome_of(run, network, progress, {});
  report_run({run, spec, network, fingerprint, outcome});
  return outcome;
}

}  // namespace

std::string RunFiles::best() const { return with_suffix(model, ".best.safetensors"); }
std::string RunFiles::state() const { return with_suffix(model, ".state.safetensors"); }

Resume resume_of(const RunOptions& options) {
  if (options.resume && options.restart)
    throw UsageError("--restart: throws away what --resume continues; give one of them");
  return options.resume ? Resume::demanded : options.restart ? Resume::restart : Resume::on_demand;
}

namespace {

/// Whether both paths name one regular file, which either may not be yet.
bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (std::filesystem::exists(a, error) && !std::filesystem::is_regular_file(a, error)) return false;
  if (std::filesystem::equivalent(a, b, error)) return true;
  return std::filesystem::weakly_canonical(std::filesystem::absolute(a), error) ==
         std::filesystem::weakly_canonical(std::filesystem::absolute(b), error);
}

}  // namespace

void check_outputs(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (written[i].path.empty()) continue;
    for (std::size_t j = 0; j < i; ++j)
      if (!written[j].path.empty() && is_same_file(written[i].path, written[j].path))
        throw UsageError(text(written[i].flag, ": ", written[i].path, " is the file that ", written[j].flag,
                              " writes; give each its own"));
    for (const NamedFile& source : read)
      if (!source.path.empty() && is_same_file(written[i].path, source.path))
        throw UsageError(text(source.flag, ": ", source.path, " is a file that ", written[i].flag,
                              " writes; give another --out, or copy it first"));
  }
}

void check_outputs(const RunFiles& files, const std::vector<NamedFile>& read) {
  check_outputs({{"--out", files.model},
                 {"--out", files.best()},
                 {"--out", files.state()},
                 {"--log", files.log},
                 {"--report", files.report}},
                read);
}

TrainingData open_training_data(const TrainingOptions& options, bool allow_unlabelled) {
  TrainingData data;
  data.train = open_data(options.data, options.common, Split::train, allow_unlabelled);
  data.reading = data.train->reading();
  // --val-split 0 trains on everything; a set with a validation part of its own still uses that.
  try {
    data.val = open_data(options.data, options.common, Split::val, allow_unlabelled);
  } catch (const NoSamples&) {
    if (options.data.val_split > 0) throw;
  }
  if (data.val && data.val->size() == 0) data.val = nullptr;
  return data;
}

TrainingOutcome run_training(const TrainingRun& run) {
  const bool first = group().is_first();  // it alone writes
  const TrainingOptions& options = run.options;
  const ChosenKernels kernels(options.kernels, compute_device(options.common), computing_type(options));
  std::optional<FileLock> lock, log_lock;
  if (first) {
    lock.emplace(run.files.model);
    if (!run.files.log.empty()) log_lock.emplace(run.files.log);
    for (const std::string& file : {run.files.model, run.files.best(), run.files.state(), run.files.report})
      if (!file.empty()) check_writable(file);
    if (run.resume == Resume::on_demand && std::filesystem::exists(run.files.state()))
      refuse_unfinished(run.files.state());
  }
  const ModelSpec spec = describe(run);
  const Fingerprint fingerprint = fingerprint_of(run, spec);
  check_ranks(run, spec);
  const std::optional<TrainingProgress> done = first ? finished_before(run, fingerprint) : std::nullopt;
  if (done) {
    group().any(true);
    return end_again(run, spec, fingerprint, *done);
  }
  if (group().any(false)) return {.model = run.files.model};

  std::unique_ptr<Network> network = start_network(run, spec);
  SaveNetwork save = [&spec](const std::string& path, Network& trained) { save_model(path, trained, spec); };
  std::optional<Int8Run> in_8_bits;
  if (options.precision == DType::i8) {
    in_8_bits.emplace(run, spec, std::move(network));
    network = in_8_bits->rehearsal();
    save = [&in_8_bits](const std::string& path, Network& trained) { in_8_bits->save(path, trained); };
  }
  freeze(*network, options.freeze, options.common.quiet);
  to_device(*network, compute_device(options.common));
  say_recipe(run);
  say_normalisation(run, spec);
  Monitor monitor(run, spec, *network, save);
  const std::unique_ptr<Hints> hints = hints_of(run, spec, *network);
  Trainer trainer(parts_of(run, spec, *network, hints.get()), settings_of(run, *network), monitor.hooks(),
                  run.files.state(), fingerprint);
  trainer.check_memory();
  resume_or_begin(run, trainer);
  monitor.begin(trainer.progress(), fingerprint);
  catch_interrupts();
  const bool finished = trainer.run();
  monitor.clear_bar();
  if (finished) say_early_stop(run, trainer.progress());
  if (!finished) {
    say(!first, "stopped; " + how_to_continue(run));
    throw Interrupted{.of_all = true};
  }

  TrainingOutcome outcome = outcome_of(run, *network, trainer.progress(), monitor.take_history());
  say_saved(run, outcome);
  if (first) report_run({run, spec, *network, fingerprint, outcome});
  group().barrier();  // the files are there
  return outcome;
}

void print_outcome_json(const TrainingOutcome& outcome) {
  if (!group().is_first()) return;
  nlohmann::ordered_json json = {{"model", outcome.model}, {"parameters", outcome.parameters}};
  if (!outcome.data.is_null()) json["data"] = outcome.data;
  if (!outcome.selected_model.empty())
    json["selected"] = {
        {"model", outcome.selected_model}, {"epoch", outcome.selected_epoch}, {"accuracy", outcome.selected_accuracy}};
  json["epochs"] = nlohmann::ordered_json::array();
  for (const EpochReport& report : outcome.history) json["epochs"].push_back(report_json(report, {}));
  std::cout << json_text(json) << std::endl;
}

}  // namespace retort
