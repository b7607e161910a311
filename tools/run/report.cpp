#include "tools/run/report.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "engine/core/check.h"
#include "engine/data/joined.h"
#include "engine/data/pick.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/report/charts.h"
#include "engine/report/observables.h"
#include "engine/report/page.h"
#include "kernels/threads.h"
#include "tools/cli/command_line.h"
#include "tools/cli/progress.h"
#include "tools/commands/distill.h"
#include "tools/run/network_cost.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

constexpr std::int64_t kTrainingImages = 2000, kSamples = 12, kMaxClasses = 20;
constexpr std::size_t kPairs = 10, kErrors = 24;

/// What both networks say of some images, in evaluation mode.
struct Seen {
  Tensor student, teacher;  ///< logits f32 [n, classes]; teacher may be empty
  Tensor labels;            ///< i64 [n], empty without labels
  std::vector<std::int64_t> indices;
  std::int64_t size() const { return static_cast<std::int64_t>(indices.size()); }
};

/// f32 [n, classes] or i64 [n]; an empty tensor stays one.
Tensor first_rows(const Tensor& rows, std::int64_t count) {
  if (!rows || rows.shape()[0] == count) return rows;
  const Shape shape = rows.shape().rank() == 2 ? Shape{count, rows.shape()[1]} : Shape{count};
  Tensor first = Tensor::empty(shape, rows.dtype());
  std::memcpy(first.raw(), rows.raw(), static_cast<std::size_t>(first.bytes()));
  return first;
}

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

Seen look(const FinishedRun& run, Network& network, const Dataset& dataset, Teacher* teacher, const LoaderOptions& base,
          std::int64_t max_images) {
  LoaderOptions loading = base;
  loading.cache_bytes = 0;  // one pass
  loading.batch_size = images_at_a_time(run.training.options);
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
    // No more rows than asked for, though the last batch may have them.
    const auto rows = std::min(max_images - seen.size(), static_cast<std::int64_t>(batch.indices.size()));
    z.push_back(first_rows(infer(network, batch.inputs[0]).to(Device::cpu), rows));
    if (teacher) v.push_back(first_rows(teacher->logits(batch, 0).to(Device::cpu), rows));
    y.push_back(first_rows(batch.labels, rows));
    seen.indices.insert(seen.indices.end(), batch.indices.begin(), batch.indices.begin() + rows);
    bar.update(seen.size());
  }
  seen.student = stack(z, seen.size());
  seen.teacher = stack(v, seen.size());
  seen.labels = stack(y, seen.size());
  return seen;
}

std::string percent(double share) { return number(100 * share, 4) + "%"; }

/// The flags of a run as texts: what determines its bits, and its length.
Fingerprint flags_of(TrainingOptions training, ObjectiveOptions objective, TeacherOptions teacher,
                     UnlabelledOptions unlabelled) {
  Fingerprint texts;
  const PrintFlags flag{.fingerprint = texts, .finished_runs_count = true};
  visit_flags(training.common, flag);
  visit_flags(training.data, flag);
  visit_flags(training, flag);
  visit_flags(objective, flag);
  visit_flags(teacher, flag);
  visit_flags(unlabelled, flag);
  return texts;
}

/// The defaults as the run's optimizer and data make them.
Fingerprint defaults_beside(const FinishedRun& run) {
  Fingerprint defaults = flags_of({}, {}, {}, {});
  TrainingOptions same_optimizer;
  same_optimizer.optimizer = run.training.options.optimizer;
  ObjectiveOptions resolved;
  resolved.lambda = run.training.data.train->labelled() ? kDefaultLambda : 0;
  const Fingerprint dependent = flags_of(same_optimizer, resolved, {}, {});
  for (const char* flag : {"--lr", "--lambda"}) defaults[flag] = dependent.at(flag);
  return defaults;
}

void add_settings(Page& page, const FinishedRun& run) {
  const Preprocessing& input = run.spec.preprocessing;
  Fingerprint texts = run.fingerprint;
  TrainingOptions options = run.training.options;
  visit_flags(options, PrintFlags{.fingerprint = texts, .finished_runs_count = true});
  const Fingerprint defaults = defaults_beside(run);
  std::vector<std::vector<std::string>> changed = {
      {"architecture", run.spec.architecture},
      {"input", text(input.image_size, " x ", input.image_size, " x ", input.channels)},
      {"augmentation", format_augmentation(run.training.guidance.augmentation)}};
  std::vector<std::vector<std::string>> others;
  for (const auto& [name, value] : texts) {
    // Those that say the same as a row above, or are bits and hashes of no use to a reader.
    static const std::set<std::string> kUnshown = {"--augment", "--image-size", "--teacher", "--logits",
                                                   "--val-logits"};
    if ((!name.starts_with("--") && name != "epochs") || kUnshown.contains(name) || value.empty()) continue;
    const auto found = defaults.find(name);
    const std::vector<std::string> row = {name == "epochs" ? "--epochs" : name, value};
    (found == defaults.end() || found->second != value ? changed : others).push_back(row);
  }
  page.section("Settings");
  page.command(command_line());
  page.paragraph("Those that differ from the defaults:");
  page.table({"", ""}, changed);
  page.begin_fold("Settings at their defaults");
  page.table({"", ""}, others);
  page.end_fold();
}

void add_data_rows(Page& page, const FinishedRun& run) {
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

void add_data(Page& page, const FinishedRun& run) {
  page.begin_fold("Data");
  add_data_rows(page, run);
  page.end_fold();
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

/// Which weights are judged: those of the epoch that was best on validation, where there is one.
struct Judged {
  Network& network;
  std::string file, epoch;  ///< "epoch 7, the best on validation"
};

void add_measures(const Evaluation& result, std::size_t classes, const std::string& positive,
                  std::vector<std::pair<std::string, std::string>>& rows) {
  rows.emplace_back("accuracy", percent(result.accuracy));
  if (classes > 5) rows.emplace_back("top-5 accuracy", percent(result.top5_accuracy));
  if (result.binary) {
    rows.emplace_back("precision of '" + positive + "'", percent(result.binary->precision));
    rows.emplace_back("recall of '" + positive + "'", percent(result.binary->recall));
    rows.emplace_back("F1 of '" + positive + "'", number(result.binary->f1));
    rows.emplace_back("AUC", number(result.binary->auc));
  }
  rows.emplace_back("cross-entropy", number(result.cross_entropy));
  rows.emplace_back("expected calibration error", number(result.ece));
}

/// What the teacher, or the ensemble and the largest of its networks, and the network judged take.
void add_what_it_takes(Page& page, const FinishedRun& run, const Judged& judged, const std::string& own) {
  std::vector<std::string> columns = {""};
  std::vector<NetworkCost> costs;
  const bool distilled = run.training.guidance.teacher != nullptr;
  if (distilled) costs = costs_of_teachers(run.training);
  if (costs.size() > 1) {
    columns.push_back(text("largest of ", costs.size(), " teachers"));
    columns.emplace_back("ensemble");
    costs = {*std::ranges::max_element(costs, {}, &NetworkCost::macs), sum_of(costs)};
  } else if (!costs.empty()) {
    columns.emplace_back("teacher");
  }
  columns.push_back(own);
  if (!costs.empty()) columns.push_back("beside the " + columns[costs.size()]);
  costs.push_back(cost_of(judged.network, run.spec, judged.file));
  page.table(columns, cost_rows(costs));
  if (distilled && costs.size() == 1)
    page.paragraph("What the teacher takes is not known here: give --teacher FILE beside --logits to see it.");
}

/// Student against teacher against labels, and what each of them takes.
void add_result(Page& page, const FinishedRun& run, const Judged& judged, const Seen& val) {
  const TrainingRun& training = run.training;
  const std::size_t classes = run.spec.classes.size();
  const bool distilled = training.guidance.teacher != nullptr;
  const std::string own = distilled ? "student" : "model";
  page.section("Result");
  std::vector<std::pair<std::string, std::string>> student, teacher;
  if (val.labels) {
    const double temperature = training.guidance.settings.temperature;
    Metrics metrics(static_cast<std::int64_t>(classes), temperature);
    metrics.add(val.student, val.labels, val.teacher);
    const Evaluation result = metrics.result();
    add_measures(result, classes, run.spec.classes.back(), student);
    if (val.teacher) {
      Metrics of_teacher(static_cast<std::int64_t>(classes));
      of_teacher.add(val.teacher, val.labels);
      add_measures(of_teacher.result(), classes, run.spec.classes.back(), teacher);
      student.emplace_back("agreement with the teacher", percent(result.agreement));
      student.emplace_back("KL(teacher || student) at T = " + number(temperature), number(result.kl));
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : student) {
    const auto found = std::ranges::find(teacher, name, &std::pair<std::string, std::string>::first);
    rows.push_back(val.teacher ? std::vector<std::string>{name, found == teacher.end() ? "" : found->second, value}
                               : std::vector<std::string>{name, value});
  }
  const bool ensemble = split_commas(training.guidance.teacher_files).size() > 1;
  if (!rows.empty())
    page.table(val.teacher ? std::vector<std::string>{"", ensemble ? "ensemble" : "teacher", own}
                           : std::vector<std::string>{"", own},
               rows);
  add_what_it_takes(page, run, judged, own);
  page.paragraph(text("Judged: ", judged.file, ", ", judged.epoch,
                      training.data.val ? text(", on the ", training.data.val->size(),
                                               " validation images, which chose that epoch: "
                                               "`retort eval --split test` on others is the fairer figure")
                                        : std::string(),
                      "."));
  page.paragraph(
      text("Started ", start_date(), "; ", duration_words(seconds_running()), " until this page was written."));
}

/// What the judged network takes for something else, the surest first.
void add_errors(Page& page, const FinishedRun& run, const Seen& seen) {
  if (!seen.labels) return;
  const Dataset& dataset = *run.training.data.val;
  std::vector<std::pair<double, std::int64_t>> errors;
  for (std::int64_t row = 0; row < seen.size(); ++row) {
    const std::vector<double> p = softened(row_of(seen.student, row), 1);
    const std::int64_t predicted = largest(p, 1).front();
    if (predicted != seen.labels.data<std::int64_t>()[row]) errors.emplace_back(-p[predicted], row);
  }
  std::ranges::sort(errors);
  page.section("Errors");
  if (errors.empty()) return page.paragraph("None on the validation images.");
  page.paragraph(text(errors.size(), " of ", seen.size(), " validation images are taken for another class",
                      errors.size() > kErrors ? text("; the surest ", kErrors) : std::string(), ":"));
  std::vector<Thumbnail> thumbnails;
  for (std::size_t i = 0; i < std::min(errors.size(), kErrors); ++i) {
    const std::int64_t row = errors[i].second, index = seen.indices[row];
    const std::vector<double> p = softened(row_of(seen.student, row), 1);
    std::vector<std::string> lines = {
        text("taken for ", run.spec.classes[largest(p, 1).front()], ", ", number(-100 * errors[i].first, 3), "%"),
        "labelled " + run.spec.classes[seen.labels.data<std::int64_t>()[row]]};
    if (seen.teacher) {
      const std::vector<double> v = softened(row_of(seen.teacher, row), 1);
      const std::int64_t says = largest(v, 1).front();
      lines.push_back(text("teacher: ", run.spec.classes[says], ", ", number(100 * v[says], 3), "%"));
    }
    lines.push_back(dataset.name(index));
    thumbnails.push_back({dataset.load(index), std::move(lines)});
  }
  page.gallery(thumbnails);
}

void add_confusion(Page& page, const FinishedRun& run, const Seen& seen) {
  if (!seen.labels) return;
  const auto classes = static_cast<std::int64_t>(run.spec.classes.size());
  Metrics metrics(classes);
  metrics.add(seen.student, seen.labels);
  const Evaluation result = metrics.result();
  page.section("Calibration and confusion");
  page.figure(reliability_diagram("Calibration", result.calibration));
  if (classes <= kMaxClasses) page.figure(confusion_matrix("Confusion", run.spec.classes, result.confusion));
  std::vector<std::vector<double>> confusion;
  for (const auto& row : result.confusion) confusion.emplace_back(row.begin(), row.end());
  std::vector<std::vector<std::string>> pairs;
  for (const ConfusedPair& pair : most_confused(confusion, kPairs))
    pairs.push_back({run.spec.classes[pair.truth], run.spec.classes[pair.other], number(pair.amount)});
  if (!pairs.empty() && classes > 2) {
    page.paragraph("What is most often taken for what:");
    page.table({"true class", "predicted", "images"}, pairs);
  }
  if (classes <= kMaxClasses) return;
  page.begin_fold("Each class");
  std::vector<std::vector<std::string>> rows;
  for (std::int64_t c = 0; c < classes; ++c) {
    std::int64_t images = 0;
    for (const std::int64_t count : result.confusion[c]) images += count;
    rows.push_back(
        {run.spec.classes[c], std::to_string(images),
         images > 0 ? percent(static_cast<double>(result.confusion[c][c]) / static_cast<double>(images)) : "-"});
  }
  page.table({"class", "images", "right"}, rows);
  page.end_fold();
}

/// Hinton et al.'s observables: how strongly each part pulls, and what the soft targets say beyond the labels.
void add_observables(Page& page, const FinishedRun& run, const Seen& seen) {
  const DistillationSettings& settings = run.training.guidance.settings;
  const double temperature = settings.temperature;
  page.section("What the teacher says");
  page.paragraph(text("On ", seen.size(), " training images, at T = ", number(temperature), "."));
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
  const auto named = [&](std::int64_t row) {
    return text(run.training.data.train->name(seen.indices[row]),
                seen.labels ? ", class " + run.spec.classes[seen.labels.data<std::int64_t>()[row]] : "", ".");
  };
  std::int64_t telling = 0;
  if (run.spec.classes.size() > 2) {
    const std::vector<double> dark = dark_knowledge(seen.teacher, seen.labels, temperature);
    telling = largest(dark, 1).front();
    page.paragraph(
        text("The image whose wrong classes tell most (the entropy of the teacher's distribution over them is ",
             number(dark[telling], 3), " nats): ", named(telling)));
  } else {  // one wrong class has no distribution
    std::vector<double> doubts;
    for (std::int64_t row = 0; row < seen.size(); ++row)
      doubts.push_back(1 - std::ranges::max(softened(row_of(seen.teacher, row), 1)));
    telling = largest(doubts, 1).front();
    page.paragraph("The image of which the teacher is least sure: " + named(telling));
  }
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
  const bool distilled = run.training.guidance.teacher != nullptr;
  std::optional<double> own;
  if (distilled) own = run.training.guidance.settings.temperature;
  page.samples(run.spec.classes, samples, distilled ? "student" : "model", own);
}

}  // namespace

void write_report(const FinishedRun& run) {
  const bool distilled = run.training.guidance.teacher != nullptr;
  Page page((distilled ? "Distillation of " : "Training of ") + run.spec.architecture);
  // The epoch that is best on validation, where one is: it is the file that one uses.
  std::optional<Model> selected;
  if (!run.outcome.selected_model.empty() && run.outcome.selected_epoch != run.outcome.epochs_done) {
    selected = load_model(run.outcome.selected_model);
    to_device(*selected->network, device_of(run.network));
  }
  const Judged judged{selected ? *selected->network : run.network,
                      run.outcome.selected_model.empty() ? run.outcome.model : run.outcome.selected_model,
                      run.outcome.selected_model.empty()
                          ? "after the last epoch"
                          : text("epoch ", run.outcome.selected_epoch, ", the best on validation")};
  Seen val, train;
  if (run.training.data.val)
    val =
        look(run, judged.network, *run.training.data.val, run.training.guidance.val, {}, run.training.data.val->size());
  add_result(page, run, judged, val);
  if (run.training.data.val) add_errors(page, run, val);
  // The labelled pictures come first, so a teacher's rows are theirs, too.
  std::shared_ptr<const Dataset> shown = run.training.data.train;
  if (shown->labelled() && labelled_samples(*shown) < shown->size()) {
    std::vector<std::int64_t> labelled(static_cast<std::size_t>(labelled_samples(*shown)));
    std::iota(labelled.begin(), labelled.end(), 0);
    shown = pick_samples(shown, std::move(labelled));
  }
  if (distilled) {
    LoaderOptions loading;
    loading.shuffle = true;  // a part of all classes
    loading.augmentation = run.training.guidance.augmentation;
    loading.view_seed = run.training.guidance.view_seed;
    train = look(run, judged.network, *shown, run.training.guidance.teacher.get(), loading, kTrainingImages);
  }
  // The teacher's logits of the validation part are known with a live teacher or --val-logits.
  const bool on_train = distilled && !val.teacher;
  if (on_train)
    add_samples(page, run, train, *shown, "training");
  else if (run.training.data.val)
    add_samples(page, run, val, *run.training.data.val, "validation");
  add_curves(page, run);
  add_confusion(page, run, val);
  if (distilled) add_observables(page, run, train);
  add_settings(page, run);
  add_data(page, run);
  write_atomic(run.training.files.report, page.str());
}

}  // namespace retort
