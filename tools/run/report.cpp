#include "tools/run/report.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/core/check.h"
#include "engine/data/joined.h"
#include "engine/data/pick.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/report/charts.h"
#include "engine/report/observables.h"
#include "engine/report/page.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

constexpr std::int64_t kTrainingImages = 2000, kSamples = 12, kMaxClasses = 20;
constexpr std::size_t kPairs = 10;

/// What both networks say of some images, in evaluation mode.
struct Seen {
  Tensor student, teacher;  ///< logits f32 [n, classes]; teacher may be empty
  Tensor labels;            ///< i64 [n], empty without labels
  std::vector<std::int64_t> indices;
  std::int64_t size() const { return static_cast<std::int64_t>(indices.size()); }
};

Tensor stack(const std::vector<Tensor>& parts, std::int64_t rows) {
  if (parts.empty() || !parts.front()) return {};
  std::vector<std::int64_t> extents = {rows};
  if (parts.front().shape().rank() == 2) extents.push_back(parts.front().shape()[1]);
  Tensor whole = Tensor::empty(extents.size() == 2 ? Shape{rows, extents[1]} : Shape{rows}, parts.front().dtype());
  auto* to = static_cast<char*>(whole.raw());
  for (const Tensor& part : parts) {
    std::memcpy(to, part.raw(), part.bytes());
    to += part.bytes();
  }
  return whole;
}

Seen look(const FinishedRun& run, const Dataset& dataset, Teacher* teacher, const LoaderOptions& base,
          std::int64_t max_images) {
  LoaderOptions loading = base;
  loading.batch_size = run.training.options.batch_size;
  loading.workers = std::clamp(num_threads(), 1, 4);
  loading.preprocessings = {run.spec.preprocessing};
  if (teacher) teacher->request_inputs(loading.preprocessings);
  Loader loader(dataset, loading);
  loader.start(0, 0);
  Seen seen;
  std::vector<Tensor> z, v, y;
  Progress bar("report", std::min(max_images, dataset.size()), run.training.options.common.quiet);
  for (Batch batch; seen.size() < max_images && loader.next(batch);) {
    if (interrupted()) throw Interrupted{};
    z.push_back(infer(run.network, batch.inputs[0]).to(Device::cpu));
    if (teacher) v.push_back(teacher->logits(batch, 0).to(Device::cpu));
    y.push_back(batch.labels);
    seen.indices.insert(seen.indices.end(), batch.indices.begin(), batch.indices.end());
    bar.update(seen.size());
  }
  seen.student = stack(z, seen.size());
  seen.teacher = stack(v, seen.size());
  seen.labels = stack(y, seen.size());
  return seen;
}

std::string percent(double share) { return number(100 * share, 4) + "%"; }

void add_settings(Page& page, const FinishedRun& run) {
  page.section("Settings");
  const Preprocessing& input = run.spec.preprocessing;
  std::vector<std::vector<std::string>> rows = {
      {"architecture", run.spec.architecture},
      {"parameters", std::to_string(run.outcome.parameters)},
      {"input", text(input.image_size, " x ", input.image_size, " x ", input.channels)},
      {"file", run.training.files.model},
      {"epochs", std::to_string(run.training.options.epochs)}};
  // The augmentation's entry is three bits.
  for (const auto& [name, value] : run.fingerprint)
    if (name.starts_with("--") && name != "--augment" && !value.empty()) rows.push_back({name.substr(2), value});
  const Augmentation& views = run.training.guidance.augmentation;
  rows.push_back({"augmentation", format_augmentation(views)});
  page.table({"", ""}, rows);
}

void add_data(Page& page, const FinishedRun& run) {
  page.section("Data");
  const Dataset& train = *run.training.data.train;
  page.paragraph(text(run.training.options.data.path, ": ", train.size(), " images to train on, ",
                      run.training.data.val ? run.training.data.val->size() : 0, " to validate."));
  if (!train.labelled()) return;
  if (const std::int64_t others = train.size() - labelled_samples(train); others > 0)
    page.paragraph(text(others, " of those to train on have no label."));
  const auto counts = [](const Dataset& part) {
    std::vector<std::int64_t> result(part.classes().size(), 0);
    for (std::int64_t i = 0; i < part.size(); ++i)
      if (part.labelled(i)) ++result[part.label(i)];
    return result;
  };
  const std::vector<std::int64_t> training = counts(train);
  const std::vector<std::int64_t> validating = run.training.data.val && run.training.data.val->labelled()
                                                   ? counts(*run.training.data.val)
                                                   : std::vector<std::int64_t>(training.size(), 0);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < training.size(); ++i)
    rows.push_back({train.classes()[i], std::to_string(training[i]), std::to_string(validating[i])});
  page.table({"class", "to train on", "to validate"}, rows);
}

void add_curves(Page& page, const FinishedRun& run) {
  page.section("Training");
  const std::vector<EpochReport>& history = run.outcome.history;
  if (history.empty()) {
    page.paragraph("Every epoch had been run before: there are no curves of this one.");
    return;
  }
  if (history.front().epoch > 1)
    page.paragraph(text("The run was resumed: the curves begin with epoch ", history.front().epoch, "."));
  const auto curve = [&](const std::string& name, const auto& value) {
    Series series{name, {}};
    for (const EpochReport& report : history)
      series.points.push_back({static_cast<double>(report.epoch), value(report)});
    return series;
  };
  const auto pair = [&](double EpochMetrics::*value, double scale, bool validated = true) {
    std::vector<Series> both = {curve("training", [=](const EpochReport& r) { return scale * (r.train.*value); })};
    if (validated && history.front().val)
      both.push_back(
          curve("validation", [=](const EpochReport& r) { return r.val ? scale * ((*r.val).*value) : NAN; }));
    return both;
  };
  std::optional<double> selected;
  if (run.outcome.selected_epoch > 0) selected = static_cast<double>(run.outcome.selected_epoch);
  page.figure(line_chart("Loss", "epoch", pair(&EpochMetrics::loss, 1), selected, "selected"));
  if (run.training.data.train->labelled())
    page.figure(line_chart("Accuracy, %", "epoch", pair(&EpochMetrics::accuracy, 100), selected, "selected"));
  if (run.training.guidance.teacher) {
    page.figure(line_chart("Parts of the training loss, unweighted", "epoch",
                           {curve("hard", [](const EpochReport& r) { return r.train.hard; }),
                            curve("soft", [](const EpochReport& r) { return r.train.soft; })}));
    page.figure(line_chart("Gradient norms of the parts, weighted", "epoch",
                           {curve("hard", [](const EpochReport& r) { return r.train.gradients.hard; }),
                            curve("soft", [](const EpochReport& r) { return r.train.gradients.soft; })}));
    page.figure(line_chart("KL(teacher || student)", "epoch", pair(&EpochMetrics::kl, 1, run.training.guidance.val),
                           selected, "selected"));
  }
  const EpochReport& last = history.back();
  page.paragraph(text("Last epoch: ", std::lround(last.images_per_second), " images/s, learning rate ",
                      number(last.lr, 3),
                      run.training.data.train->labelled() && last.val
                          ? text("; validation accuracy ", percent(last.val->accuracy), ", best ",
                                 percent(run.outcome.selected_accuracy), " in epoch ", run.outcome.selected_epoch)
                          : std::string(),
                      "."));
}

void add_validation(Page& page, const FinishedRun& run, const Seen& seen) {
  if (!seen.labels) return;
  const auto classes = static_cast<std::int64_t>(run.spec.classes.size());
  const double temperature = run.training.guidance.settings.temperature;
  Metrics metrics(classes, temperature);
  metrics.add(seen.student, seen.labels, seen.teacher);
  const Evaluation result = metrics.result();
  page.section("After the last epoch, on the validation part");
  std::vector<std::vector<std::string>> rows = {{"accuracy", percent(result.accuracy)},
                                                {"top-5 accuracy", percent(result.top5_accuracy)},
                                                {"cross-entropy", number(result.cross_entropy)},
                                                {"expected calibration error", number(result.ece)}};
  if (seen.teacher) {
    Metrics of_teacher(classes);
    of_teacher.add(seen.teacher, seen.labels);
    rows.push_back({"the teacher's accuracy", percent(of_teacher.result().accuracy)});
    rows.push_back({"agreement with the teacher", percent(result.agreement)});
    rows.push_back({"KL(teacher || student) at T = " + number(temperature), number(result.kl)});
  }
  page.table({"", ""}, rows);
  page.figure(reliability_diagram("Calibration", result.calibration));
  if (classes <= kMaxClasses) page.figure(confusion_matrix("Confusion", run.spec.classes, result.confusion));
  std::vector<std::vector<double>> confusion;
  for (const auto& row : result.confusion) confusion.emplace_back(row.begin(), row.end());
  std::vector<std::vector<std::string>> pairs;
  for (const ConfusedPair& pair : most_confused(confusion, kPairs))
    pairs.push_back({run.spec.classes[pair.truth], run.spec.classes[pair.other], number(pair.amount)});
  if (!pairs.empty()) {
    page.paragraph("What is most often taken for what:");
    page.table({"true class", "predicted", "images"}, pairs);
  }
}

/// Hinton et al.'s observables: how strongly each part pulls, and what the soft targets say beyond the labels.
void add_observables(Page& page, const FinishedRun& run, const Seen& seen) {
  const DistillationSettings& settings = run.training.guidance.settings;
  const double temperature = settings.temperature;
  page.section("What the teacher says");
  page.paragraph(text("On ", seen.size(), " training images, after the last epoch, at T = ", number(temperature), "."));
  Metrics metrics(static_cast<std::int64_t>(run.spec.classes.size()), temperature);
  metrics.add(seen.student, seen.labels, seen.teacher);
  const Evaluation result = metrics.result();
  std::vector<std::vector<std::string>> rows = {{"agreement with the teacher", percent(result.agreement)},
                                                {"KL(teacher || student)", number(result.kl)}};
  if (settings.loss == SoftLoss::kd && !settings.standardize)
    rows.push_back({"effective hard share, after T\u00b2", percent(effective_hard_share(settings))});
  const GradientNorms norms =
      gradient_norms(seen.student, seen.teacher, {seen.labels, {}, {}, run.training.options.label_smoothing}, settings);
  rows.push_back({"gradient norm of the hard part, mean over images", number(norms.hard)});
  rows.push_back({"gradient norm of the soft part", number(norms.soft)});
  page.table({"", ""}, rows);
  if (seen.labels) {
    const std::vector<std::vector<double>> mean = mean_by_class(seen.teacher, seen.labels, temperature);
    if (run.spec.classes.size() <= static_cast<std::size_t>(kMaxClasses)) {
      std::vector<std::vector<double>> shown = mean;  // in %, whole numbers: the rest is in the table of pairs
      for (auto& row : shown)
        for (double& value : row) value = std::round(100 * value);
      page.figure(heat_map("Mean soft target of each class, %", "true class", run.spec.classes, "class",
                           run.spec.classes, shown));
    }
    std::vector<std::vector<std::string>> pairs;
    for (const ConfusedPair& pair : most_confused(mean, kPairs))
      pairs.push_back({run.spec.classes[pair.truth], run.spec.classes[pair.other], number(100 * pair.amount, 3)});
    page.paragraph("Likenesses that the labels do not tell the student of:");
    page.table({"an image of", "is also a little", "mean soft target, %"}, pairs);
  }
  const std::vector<double> dark = dark_knowledge(seen.teacher, seen.labels, temperature);
  const std::int64_t telling = largest(dark, 1).front();
  page.paragraph(
      text("The image whose wrong classes tell most (the entropy of the teacher's distribution over them is ",
           number(dark[telling], 3), " nats): ", run.training.data.train->name(seen.indices[telling]),
           seen.labels ? ", class " + run.spec.classes[seen.labels.data<std::int64_t>()[telling]] : "", "."));
  page.figure(temperature_chart("What the temperature does to it", run.spec.classes, row_of(seen.teacher, telling),
                                {1, std::max(2.0, temperature), std::max(20.0, 4 * temperature)}));
}

/// Half of the samples are those where the two networks differ most, the others are spread over the set.
void add_samples(Page& page, const FinishedRun& run, const Seen& seen, const Dataset& dataset, const char* part) {
  std::vector<std::int64_t> chosen;
  if (seen.teacher)
    chosen = largest(disagreement(seen.student, seen.teacher, 1), static_cast<std::size_t>(kSamples / 2));
  const std::int64_t wanted = std::min(kSamples, seen.size());
  for (std::int64_t i = 0; static_cast<std::int64_t>(chosen.size()) < wanted && i < seen.size(); ++i) {
    const std::int64_t row = i < kSamples ? i * seen.size() / kSamples : i;
    if (std::find(chosen.begin(), chosen.end(), row) == chosen.end()) chosen.push_back(row);
  }
  std::vector<PageSample> samples;
  for (const std::int64_t row : chosen) {
    const std::int64_t index = seen.indices[row];
    const std::int64_t label = dataset.label(index);
    samples.push_back({dataset.name(index), label >= 0 ? run.spec.classes[label] : "", dataset.load(index),
                       row_of(seen.student, row), seen.teacher ? row_of(seen.teacher, row) : std::vector<float>{}});
  }
  page.section(seen.teacher ? "Teacher and student side by side" : "Predictions");
  page.paragraph(text("Images of the ", part, " part",
                      seen.teacher ? "; the first are those on which the two differ most" : "",
                      ". Predictions are made at T = 1; move the slider to see what a temperature brings out."));
  page.samples(run.spec.classes, samples, 1);
}

}  // namespace

void write_report(const FinishedRun& run) {
  Page page(run.training.guidance.teacher ? "Distillation of " + run.spec.architecture
                                          : "Training of " + run.spec.architecture);
  add_settings(page, run);
  add_data(page, run);
  add_curves(page, run);
  Seen val, train;
  if (run.training.data.val) {
    val = look(run, *run.training.data.val, run.training.guidance.val, {}, run.training.data.val->size());
    add_validation(page, run, val);
  }
  // The labelled pictures come first, so a teacher's rows are theirs, too.
  std::shared_ptr<const Dataset> shown = run.training.data.train;
  if (shown->labelled() && labelled_samples(*shown) < shown->size()) {
    std::vector<std::int64_t> labelled(static_cast<std::size_t>(labelled_samples(*shown)));
    std::iota(labelled.begin(), labelled.end(), 0);
    shown = pick_samples(shown, std::move(labelled));
  }
  if (run.training.guidance.teacher) {
    LoaderOptions loading;
    loading.shuffle = true;  // a part of all classes
    loading.augmentation = run.training.guidance.augmentation;
    loading.view_seed = run.training.guidance.view_seed;
    train = look(run, *shown, run.training.guidance.teacher.get(), loading, kTrainingImages);
    add_observables(page, run, train);
  }
  // The teacher's logits of the validation part are known with a live teacher or --val-logits.
  const bool on_train = run.training.guidance.teacher && !val.teacher;
  if (on_train)
    add_samples(page, run, train, *shown, "training");
  else if (run.training.data.val)
    add_samples(page, run, val, *run.training.data.val, "validation");
  write_atomic(run.training.files.report, page.str());
}

}  // namespace retort
