#include "engine/distill/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/random.h"
#include "engine/data/joined.h"
#include "engine/distill/cutmix.h"
#include "engine/distill/evaluate.h"
#include "engine/distill/memory_plan.h"
#include "engine/distill/mixup.h"
#include "engine/group/group.h"
#include "engine/io/file.h"
#include "engine/ops/dropout.h"
#include "kernels/memory.h"
#include "kernels/optimizer.h"

namespace retort {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The hints' regressors are trained with the network.
std::vector<Parameter*> trained_parameters(const TrainingParts& parts) {
  std::vector<Parameter*> all = parameters(parts.network);
  if (parts.hints)
    for (Parameter* parameter : parameters(*parts.hints)) all.push_back(parameter);
  return all;
}

/// Adds what is measured row by row to the sums.
void measure_rows(const Tensor& logits, const Tensor& teacher, const Targets& targets,
                  const DistillationSettings& distillation, double temperature, EpochSums& sums) {
  Metrics metrics(logits.shape()[1], temperature);
  metrics.add(logits, targets.labels, teacher);
  const Evaluation evaluation = metrics.result();
  const double n = static_cast<double>(logits.shape()[0]);
  if (teacher) {
    const GradientNorms norms = gradient_norms(logits, teacher, targets, distillation);
    sums.hard_gradient += n * norms.hard;
    sums.soft_gradient += n * norms.soft;
  }
  sums.accuracy += n * evaluation.accuracy;
  sums.top5 += n * evaluation.top5_accuracy;
  sums.kl += n * evaluation.kl;
}

/// Of all parts of a batch, in their order.
std::vector<EpochSums> of_all_ranks(const std::vector<EpochSums>& mine) {
  static_assert(std::is_trivially_copyable_v<EpochSums>);
  std::vector<EpochSums> all;
  for (const std::string& bytes :
       group().gather({reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(EpochSums)})) {
    const std::size_t before = all.size();
    all.resize(before + bytes.size() / sizeof(EpochSums));
    std::memcpy(all.data() + before, bytes.data(), bytes.size());
  }
  return all;
}

/// How batches are cut, of which this rank has its part.
BatchParts cut_of(const TrainSettings& settings) {
  const std::int64_t own = settings.accumulate;
  return {.count = own * group().size(),
          .first = own * group().rank(),
          .taken = own,
          .fewest = settings.sync_batch_norm ? 1 : 2};
}

/// Whether the first batch, and so every full one, has rows for each rank: where one has none, it has no graph either.
bool all_ranks_have_rows(std::int64_t samples, const TrainSettings& settings) {
  const std::int64_t own = settings.accumulate, size = settings.batch_size, ranks = group().size();
  return ranks == 1 ||
         part_rows(std::min(samples, size), size, own * ranks, own * (ranks - 1), cut_of(settings).fewest).count > 0;
}

/// Throws Error where the ranks' networks have come apart.
void check_same_weights(Network& network, std::int64_t epoch) {
  std::string hashes;
  if (group().size() > 1)
    for (const Parameter* parameter : parameters(network)) {
      const Tensor value = parameter->value.to(Device::cpu);
      hashes += content_hash({static_cast<const std::uint8_t*>(value.raw()), value.bytes()});
    }
  const std::vector<std::string> all = group().gather(hashes);
  for (std::size_t rank = 1; rank < all.size(); ++rank)
    check(all[rank] == all[0], "rank ", rank, ": its weights differ from rank 0's after epoch ", epoch,
          "; the machines compute differently: give all of them the same program and RETORT_SIMD, and look at their "
          "memory");
}

}  // namespace

Trainer::Trainer(const TrainingParts& parts, const TrainSettings& settings, TrainHooks hooks, std::string state_path,
                 Fingerprint fingerprint)
    : parts_(parts),
      settings_(settings),
      hooks_(std::move(hooks)),
      state_path_(std::move(state_path)),
      fingerprint_(std::move(fingerprint)),
      optimizer_(trained_parameters(parts), settings.optimizer),
      step_(parts.network, optimizer_,
            {.distillation = settings.distillation,
             .label_smoothing = settings.label_smoothing,
             .dropout = settings.dropout,
             .auxiliary_weight = settings.auxiliary_weight,
             .precision = parts.precision,
             .capture = (settings.capture || device_of(parts.network) == Device::cuda) &&
                        all_ranks_have_rows(parts.train.size(), settings),
             .parts = settings.accumulate * group().size(),
             .sync_batch_norm = settings.sync_batch_norm,
             .hints = parts.hints}) {
  settings_.schedule.epochs = static_cast<double>(settings.epochs);
  distillation_ = settings_.distillation;
  if (settings_.ema != 0) average_.emplace(parameters(parts_.network), settings_.ema);
  if (parts_.train.labelled() && labelled_samples(parts_.train) < parts_.train.size()) {
    if (!parts_.teacher)
      throw UsageError("--unlabelled: images without labels need a teacher; give --teacher or --logits");
    if (soft_reads_labels(settings_.distillation.loss))
      throw UsageError(text("--loss: ", row_of(settings_.distillation.loss).word,
                            " reads a label a row, and some images have none; take another loss"));
    plan_ = plan_sampling(parts_.train, settings_.batch_size, settings_.unlabelled_share);
    plan_->views = settings_.views;
  }
  check_parts();
  if (settings_.sync_batch_norm) check_sync_batch_norm();
}

/// Every part of a full batch needs rows, and of either kind where only some have a label.
void Trainer::check_parts() const {
  const std::int64_t parts = cut_of(settings_).count;
  const std::string of_ranks = group().size() > 1 ? text(" (", settings_.accumulate, " a process)") : "";
  if (settings_.batch_size < parts)
    throw UsageError(text("--accumulate: a batch of ", settings_.batch_size, " cannot be cut into ", parts, " parts",
                          of_ranks, "; give a larger --batch-size"));
  if (plan_ && std::min(plan_->labelled, plan_->unlabelled) < parts)
    throw UsageError(text("--accumulate: of a batch's ", plan_->labelled, " images with a label and ",
                          plan_->unlabelled, " without, each of ", parts, " parts", of_ranks,
                          " needs one; give a larger --batch-size"));
}

void Trainer::check_sync_batch_norm() const {
  if (group().size() == 1)
    throw UsageError(
        "--sync-batch-norm: joins what the processes of a run normalise, and this run has one; start train or "
        "distill with mpirun, or leave it out");
  if (settings_.accumulate > 1)
    throw UsageError(
        "--sync-batch-norm: joins the batches of all processes, and --accumulate cuts them; leave out one "
        "of the two");
  if (!has_running_statistics(parts_.network))
    throw UsageError("--sync-batch-norm: the network has no batch norm that trains; leave it out");
}

void Trainer::resume() {
  if (group().is_first())
    progress_ = load_training_state(state_path_, parts_.network, optimizer_, fingerprint_, more_state());
  spread_state();
  plateau_.restore(progress_.plateau_best, progress_.plateau_bad_epochs, progress_.plateau_factor);
}

/// What rank 0 has read, to all ranks.
void Trainer::spread_state() {
  std::int64_t steps = optimizer_.steps();
  group().broadcast(std::as_writable_bytes(std::span(&steps, 1)));
  optimizer_.set_steps(steps);
  static_assert(std::is_trivially_copyable_v<TrainingProgress>);
  group().broadcast(std::as_writable_bytes(std::span(&progress_, 1)));
  std::vector<Tensor> tensors;
  for (const Parameter* parameter : parameters(parts_.network)) tensors.push_back(parameter->value);
  for (const auto& [name, tensor] : optimizer_.state()) tensors.push_back(tensor);
  for (const auto& [name, tensor] : more_state()) tensors.push_back(tensor);
  for (Tensor& tensor : tensors) {
    const Tensor here = tensor.to(Device::cpu);
    group().broadcast({static_cast<std::byte*>(here.raw()), here.bytes()});
    if (tensor.device() != Device::cpu) tensor.copy_from(here);
  }
}

LoaderOptions Trainer::loading() const {
  LoaderOptions loading;
  loading.batch_size = settings_.batch_size;
  loading.parts = cut_of(settings_);
  loading.preprocessings = {parts_.preprocessing};
  if (parts_.teacher) parts_.teacher->request_inputs(loading.preprocessings);
  loading.augmentation = settings_.augmentation;
  loading.shuffle = true;
  loading.plan = plan_;
  // Batch norm cannot train on a single row; where it asks all ranks, each must have one.
  loading.smallest = settings_.sync_batch_norm ? std::max<std::int64_t>(2, group().size()) : 2;
  loading.seed = settings_.seed;
  loading.view_seed = settings_.view_seed;
  loading.workers = settings_.workers;
  return loading;
}

void Trainer::check_memory() {
  if (device_of(parts_.network) != Device::cpu) return;
  const LoaderOptions loading = this->loading();
  const auto work = [&](std::int64_t images) {
    const Batch batch = blank_batch(loading.preprocessings, images);
    StepInputs inputs{.x = batch.inputs[0]};
    if (parts_.train.labelled()) inputs.labels = batch.labels;
    if (parts_.teacher) inputs.teacher = parts_.teacher->logits(batch, 0);
    if (parts_.teacher && parts_.hints) inputs.teacher_outputs = parts_.teacher->outputs();
    inputs.dropout_key = dropout_key(settings_.seed, 0);
    // From the second part on the sum of those before is there, too.
    step_.rehearse(std::vector(settings_.accumulate > 1 ? 2 : 1, inputs));
  };
  check_fits(work, std::min(settings_.batch_size, parts_.train.size()), loader_bytes(loading),
             BatchCut{.accumulate = settings_.accumulate, .ranks = group().size()});
}

bool Trainer::run() {
  const LoaderOptions loading = this->loading();
  if (settings_.recalibrate.when != RecalibrationSettings::When::off)
    recalibration_.emplace(parts_.train, loading, settings_.recalibrate.pictures);
  Loader loader(parts_.train, loading);
  batches_ = loader.batches();
  check(batches_ > 0, "the training part holds ", parts_.train.size(), parts_.train.size() == 1 ? " image" : " images",
        ", and a step leaves out a last batch of fewer than ", loading.smallest, "; give it more images");
  while (progress_.epoch < settings_.epochs) {
    if (settings_.early_stop > 0 && progress_.epochs_without_gain >= settings_.early_stop) break;
    if (!run_epoch(loader)) return false;
  }
  if (average_) average_->swap();
  return true;
}

bool Trainer::run_epoch(Loader& loader) {
  const std::uint64_t epoch = progress_.epoch;
  const std::uint64_t view = settings_.views > 0 ? epoch % settings_.views : epoch;
  const double samples_before = progress_.sums.samples;
  const auto start = std::chrono::steady_clock::now();
  loader.start(epoch, view, progress_.batch);
  // A device computes one step while the CPU reads the results of the one before and prepares the next.
  const bool late = memory_of(device_of(parts_.network)).asynchronous;
  std::optional<PendingStep> pending;
  const auto finish = [&] {
    if (pending) finish_step(*std::exchange(pending, std::nullopt));
  };
  for (std::vector<Batch> parts; next_step(loader, parts);) {
    PendingStep next = start_step(parts);
    finish();
    pending = std::move(next);
    if (!late) finish();
    if (group().any(hooks_.should_stop && hooks_.should_stop())) {
      finish();
      check_weights();
      save_state();
      return false;
    }
  }
  finish();
  const double seconds = seconds_since(start);
  finish_epoch((progress_.sums.samples - samples_before) / seconds, seconds);
  return true;
}

/// The parts of the next batch, as far as they have rows; false at the end of the epoch.
bool Trainer::next_step(Loader& loader, std::vector<Batch>& parts) const {
  parts.clear();
  for (std::int64_t i = 0; i < cut_of(settings_).taken; ++i) {
    Batch part;
    if (!loader.next(part)) return false;
    if (!part.indices.empty()) parts.push_back(std::move(part));
  }
  return true;
}

/// Mixes the part's pictures, where that is asked for.
void Trainer::mix(Batch& batch, Targets& targets) const {
  const bool both = settings_.mixup > 0 && settings_.cutmix > 0;
  const bool cuts =
      both ? Random::of(settings_.seed, "mixup or cutmix", progress_.step).below(2) != 0 : settings_.cutmix > 0;
  if (cuts)
    cutmix(batch, targets, settings_.cutmix, settings_.seed, progress_.epoch, parts_.train);
  else if (settings_.mixup > 0)
    mixup(batch, targets, settings_.mixup, settings_.seed, progress_.epoch, parts_.train);
}

/// What a part of the step is computed from.
StepInputs Trainer::inputs_of(Batch& part, Targets& targets) {
  targets = {.labels = part.labels, .labels2 = {}, .weight = {}, .smoothing = settings_.label_smoothing};
  mix(part, targets);
  StepInputs inputs{.x = part.inputs[0],
                    .labels = part.labels,
                    .labels2 = targets.labels2,
                    .weight = targets.weight,
                    .labelled = part.labelled,
                    .whole = part.whole};
  if (parts_.teacher) {
    const std::uint64_t view = settings_.views > 0 ? progress_.epoch % settings_.views : progress_.epoch;
    inputs.teacher = parts_.teacher->logits(part, view);
    if (parts_.hints) inputs.teacher_outputs = parts_.teacher->outputs();
  }
  // The low 16 bits tell a network's layers apart, the high ones a batch's parts.
  const auto step = static_cast<std::uint64_t>(progress_.step), number = static_cast<std::uint64_t>(part.part);
  inputs.dropout_key = dropout_key(settings_.seed, number << 48 | step << 16);
  return inputs;
}

/// Asks for one optimizer step; its results come with finish_step.
Trainer::PendingStep Trainer::start_step(std::vector<Batch>& parts) {
  std::vector<StepInputs> inputs;
  std::vector<PendingPart> pending;
  for (Batch& part : parts) {
    Targets targets;
    inputs.push_back(inputs_of(part, targets));
    pending.push_back(
        {.targets = std::move(targets), .labelled = part.labelled, .teacher = inputs.back().teacher, .results = {}});
  }
  // The middle of the step: a warm-up does not begin with a rate of 0.
  const double epochs_done = progress_.epoch + (progress_.batch + 0.5) / batches_;
  lr_ = learning_rate(settings_.schedule, epochs_done) * plateau_.factor();
  if (settings_.objective.any()) {
    distillation_ =
        settings_at(settings_.distillation, settings_.objective, epochs_done, static_cast<double>(settings_.epochs));
    step_.distil_by(distillation_);
  }
  std::vector<StepResults> results = step_.run(inputs, lr_);
  ++progress_.step;
  ++progress_.batch;
  if (average_) average_->update(progress_.step);
  for (std::size_t i = 0; i < pending.size(); ++i) {
    Tensor& teacher = pending[i].teacher;
    if (teacher && teacher.device() != Device::cpu) results[i].teacher = std::exchange(teacher, {});
    pending[i].results = std::make_unique<PendingResults>(results[i]);
  }
  return {.number = progress_.step, .distillation = distillation_, .parts = std::move(pending)};
}

/// Adds a step's results to the epoch's sums.
void Trainer::finish_step(const PendingStep& step) {
  std::vector<EpochSums> measured;
  for (const PendingPart& part : step.parts)
    measured.push_back(measure_part(part, part.results->wait(), step.distillation));
  EpochSums whole;
  for (const EpochSums& sums : of_all_ranks(measured)) {
    check_loss(sums.loss / sums.samples, "loss", step.number);
    whole += sums;
  }
  progress_.sums += whole;
  if (hooks_.step_done)
    hooks_.step_done(progress_.epoch, static_cast<std::int64_t>(progress_.sums.samples), whole.loss / whole.samples);
}

/// What a part adds to the epoch's sums.
EpochSums Trainer::measure_part(const PendingPart& part, const StepResults& results,
                                DistillationSettings distillation) const {
  const Tensor &logits = results.logits, &parts = results.parts;
  const Tensor& teacher = results.teacher ? results.teacher : part.teacher;
  const bool taught = static_cast<bool>(teacher);
  const std::int64_t rows = logits.shape()[0], labelled = part.labelled.value_or(rows);
  const double n = static_cast<double>(rows);
  EpochSums sums;
  sums.samples = n;
  sums.labelled = static_cast<double>(labelled);
  sums.loss = n * results.total.item();
  sums.hard = n * parts.data<float>()[taught ? 1 : 0];
  if (taught) sums.soft = n * parts.data<float>()[2];
  if (results.hints) sums.hints = n * results.hints.item();
  const double temperature = settings_.distillation.temperature;
  if (!part.labelled) {
    measure_rows(logits, teacher, part.targets, distillation, temperature, sums);
  } else {
    const std::int64_t unlabelled = rows - labelled;
    measure_rows(logits.rows(0, labelled), teacher.rows(0, labelled), first_rows(part.targets, labelled), distillation,
                 temperature, sums);
    distillation.lambda = 0;
    measure_rows(logits.rows(labelled, unlabelled), teacher.rows(labelled, unlabelled), {}, distillation, temperature,
                 sums);
  }
  return sums;
}

/// Validates, selects, and writes the checkpoint; then the next epoch begins.
void Trainer::finish_epoch(double images_per_second, double seconds) {
  check_weights();
  const EpochSums& sums = progress_.sums;
  const double n = sums.samples, labelled = sums.labelled;
  EpochReport report;
  report.epoch = progress_.epoch + 1;
  check_same_weights(parts_.network, report.epoch);
  report.step = progress_.step;
  report.lr = lr_;
  report.train = {.loss = sums.loss / n,
                  .hard = sums.hard / labelled,
                  .soft = sums.soft / n,
                  .accuracy = sums.accuracy / labelled,
                  .top5 = sums.top5 / labelled,
                  .kl = sums.kl / n,
                  .hints = sums.hints / n,
                  .gradients = {.hard = sums.hard_gradient / labelled, .soft = sums.soft_gradient / n}};
  if (parts_.teacher) report.distillation = distillation_;
  report.images_per_second = images_per_second;
  report.seconds = seconds;
  std::optional<WeightAverage::Scope> averaged;
  if (average_) averaged.emplace(*average_);
  report.recalibrated = recalibrate();
  report.val = validate();
  if (report.val) check_loss(report.val->loss, "validation loss", progress_.step);
  const EpochMetrics& watched = report.val ? *report.val : report.train;
  if (report.val && select(*report.val)) {
    report.selected = true;
    progress_.selected_epoch = report.epoch;
    progress_.selected_accuracy = report.val->accuracy;
    progress_.selected_loss = report.val->loss;
    if (hooks_.save_selected) hooks_.save_selected();
  }
  progress_.epochs_without_gain = watched.loss < progress_.best_loss ? 0 : progress_.epochs_without_gain + 1;
  progress_.best_loss = std::min(progress_.best_loss, watched.loss);
  if (settings_.schedule.kind == ScheduleKind::plateau) plateau_.observe(watched.loss);
  progress_.plateau_best = plateau_.best;
  progress_.plateau_bad_epochs = plateau_.bad_epochs;
  progress_.plateau_factor = plateau_.factor();
  ++progress_.epoch;
  progress_.batch = 0;
  progress_.sums = {};
  const bool last = progress_.epoch == settings_.epochs ||
                    (settings_.early_stop > 0 && progress_.epochs_without_gain >= settings_.early_stop);
  if (hooks_.epoch_done) hooks_.epoch_done(report);
  if (last || progress_.epoch % settings_.checkpoint_every == 0) {
    if (hooks_.save_checkpoint) hooks_.save_checkpoint();
    averaged.reset();  // the state holds the weights that go on, and the average beside them
    if (!group().is_first()) return;
    if (last && !settings_.keep_state)
      save_finished_run(state_path_, progress_, fingerprint_);
    else
      save_state(last);
  }
}

/// Batch norm's statistics anew, under the weights that are validated and saved; they take the place of the running
/// ones for good. Nothing in training reads those, and the state that is saved next holds them: a resumed run sees what
/// one that was never stopped sees. Returns the number of pictures.
std::int64_t Trainer::recalibrate() {
  if (!recalibration_ || !recalibration_due(settings_.recalibrate, progress_.step, batches_)) return 0;
  const std::uint64_t epoch = static_cast<std::uint64_t>(progress_.epoch);
  return recalibration_->run(parts_.network, parts_.precision, settings_.auxiliary_weight > 0, epoch);
}

void Trainer::save_state(bool finished) {
  if (!group().is_first()) return;
  save_training_state(state_path_, parts_.network, optimizer_, progress_, fingerprint_, more_state(), finished);
}

MoreState Trainer::more_state() {
  MoreState more;
  if (average_)
    for (auto& [name, tensor] : average_->state()) more.emplace_back("average." + name, tensor);
  if (parts_.hints)
    for (Parameter* parameter : parameters(*parts_.hints)) more.emplace_back(parameter->name, parameter->value);
  return more;
}

std::optional<EpochMetrics> Trainer::validate() {
  if (!parts_.val || (!parts_.val->labelled() && !parts_.val_teacher)) return std::nullopt;
  EvaluateOptions options;
  options.batch_size = settings_.batch_size;
  options.parts = cut_of(settings_);
  options.workers = settings_.workers;
  options.teacher = parts_.val_teacher;
  options.temperature = settings_.distillation.temperature;
  options.distillation = settings_.distillation;
  options.progress = hooks_.validation_step_done;
  const Evaluation result = evaluate(parts_.network, *parts_.val, parts_.preprocessing, parts_.classes, options);
  EpochMetrics metrics;
  metrics.hard = result.cross_entropy;
  metrics.accuracy = result.accuracy;
  metrics.top5 = result.top5_accuracy;
  metrics.kl = result.kl;
  metrics.loss = metrics.hard;
  if (parts_.val->labelled()) metrics.confusion = result.confusion;
  if (parts_.val_teacher) {
    const DistillationSettings& kd = settings_.distillation;
    metrics.soft = result.soft_loss;
    metrics.loss = kd.lambda * metrics.hard + weight_of_soft(kd) * metrics.soft;
  }
  return metrics;
}

bool Trainer::select(const EpochMetrics& val) {
  if (progress_.selected_epoch < 0) return true;
  if (val.accuracy != progress_.selected_accuracy) return val.accuracy > progress_.selected_accuracy;
  return val.loss < progress_.selected_loss;
}

void Trainer::check_loss(double loss, const char* name, std::int64_t step) const {
  if (!std::isfinite(loss)) throw diverged(text(name, std::isnan(loss) ? ": is not a number" : ": is infinite"), step);
}

/// A step may leave a weight infinite while its loss was finite: look before anything is saved over.
void Trainer::check_weights() {
  const std::vector<Parameter*> all = parameters(parts_.network);
  std::vector<ParameterStep> steps;
  std::vector<const Parameter*> searched;
  for (const Parameter* parameter : all) {
    if (parameter->value.dtype() != DType::f32) continue;
    steps.push_back({.n = parameter->value.count(), .w = parameter->value.raw()});
    searched.push_back(parameter);
  }
  const Device device = device_of(parts_.network);
  const OptimizerKernels& kernel = kernels(DType::f32, device).optimizer;
  const Tensor index = Tensor::empty({1}, DType::i32, device);
  const Workspace workspace(kernel.workspace_bytes(steps), device);
  kernel.find_not_finite({}, steps, static_cast<std::int32_t*>(index.raw()), workspace.data());
  const std::int32_t found = index.to(Device::cpu).data<std::int32_t>()[0];
  if (found >= 0)
    throw diverged(text("weights: ", searched[static_cast<std::size_t>(found)]->name, " is not finite"),
                   progress_.step);
}

Error Trainer::diverged(const std::string& what, std::int64_t step) const {
  return Error(text(what, " after step ", step, " (epoch ", progress_.epoch + 1, ") with learning rate ", lr_,
                    "; the last good checkpoint is kept: try a lower --lr, --warmup-epochs or --max-norm"));
}

}  // namespace retort
