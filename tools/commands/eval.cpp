// retort eval: how good a model is on labelled data, and how close to a teacher's logits.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/distill/teacher.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/stored_teacher.h"

namespace retort {
namespace {

constexpr std::size_t kMaxConfusionClasses = 20;  // printed; --json always has the whole matrix

struct Options {
  CommonOptions common;
  DataOptions data;
  ClassMapOptions map;
  std::string model, weights, logits;
  double temperature = 1;
  std::int64_t batch_size = 32;
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = "{} (default: val)"});
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  visit_flags(o.map, flag);
  flag("--logits", o.logits, "A teacher's logit store: adds soft cross-entropy, KL, agreement", anything());
  flag("--temperature", o.temperature, "T of the teacher's terms", number_above(0));
  flag("--batch-size", o.batch_size, "Images at a time", whole_number(1));
}

std::unique_ptr<CachedTeacher> open_teacher(const Options& options, const std::vector<std::string>& classes,
                                            const Dataset& dataset, Split split) {
  if (options.logits.empty()) return nullptr;
  auto [store, rows] = open_store(options.logits, classes, dataset, split, options.data, options.common);
  check(!store.augmentation.any(), options.logits, ": holds augmented views, and an evaluation sees centred ones; ",
        "make a store with --views 1");
  check(store.classes == classes, options.logits, ": its classes differ from the model's; use a teacher of the same ",
        "classes");
  return std::make_unique<CachedTeacher>(std::move(store), std::move(rows));
}

/// Mean probability of the predicted class: above the accuracy, the model is surer than it is right.
double mean_confidence(const Evaluation& result) {
  double sum = 0, count = 0;
  for (const CalibrationBin& bin : result.calibration) {
    sum += bin.confidence;
    count += static_cast<double>(bin.count);
  }
  return count > 0 ? sum / count : 0;
}

nlohmann::ordered_json to_json(const Evaluation& result, const std::vector<std::string>& classes, bool labelled,
                               bool taught) {
  nlohmann::ordered_json json = {{"samples", result.samples}};
  if (labelled) {
    json["accuracy"] = result.accuracy;
    json["top5_accuracy"] = result.top5_accuracy;
    json["cross_entropy"] = result.cross_entropy;
    json["ece"] = result.ece;
    json["confidence"] = mean_confidence(result);
  }
  json["classes"] = classes;
  if (labelled) json["confusion"] = result.confusion;
  if (taught) {
    json["soft_cross_entropy"] = result.soft_cross_entropy;
    json["kl"] = result.kl;
    json["agreement"] = result.agreement;
  }
  return json;
}

void print_confusion(const Evaluation& result, const std::vector<std::string>& classes) {
  std::size_t width = 6;
  for (const std::string& name : classes) width = std::max(width, name.size());
  const int column = static_cast<int>(std::min<std::size_t>(width, 16));
  std::printf("\nconfusion (rows: true, columns: predicted)\n%*s", column, "");
  for (const std::string& name : classes) std::printf("  %*.*s", column, column, name.c_str());
  std::printf("\n");
  for (std::size_t row = 0; row < classes.size(); ++row) {
    std::printf("%*.*s", column, column, classes[row].c_str());
    for (const std::int64_t count : result.confusion[row])
      std::printf("  %*lld", column, static_cast<long long>(count));
    std::printf("\n");
  }
}

void print_table(const Evaluation& result, const std::vector<std::string>& classes, bool labelled, bool taught,
                 double temperature) {
  std::printf("%-20s %lld\n", "samples", static_cast<long long>(result.samples));
  if (labelled) {
    std::printf("%-20s %.2f%%\n", "accuracy", 100 * result.accuracy);
    std::printf("%-20s %.2f%%\n", "top-5 accuracy", 100 * result.top5_accuracy);
    std::printf("%-20s %.4f\n", "cross-entropy", result.cross_entropy);
    std::printf("%-20s %.4f\n", "calibration error", result.ece);
    std::printf("%-20s %.2f%%\n", "mean confidence", 100 * mean_confidence(result));
  }
  if (taught) {
    std::printf("against the teacher at T = %g\n", temperature);
    std::printf("%-20s %.4f\n", "soft cross-entropy", result.soft_cross_entropy);
    std::printf("%-20s %.4f\n", "KL", result.kl);
    std::printf("%-20s %.2f%%\n", "agreement", 100 * result.agreement);
  }
  if (labelled && classes.size() <= kMaxConfusionClasses) print_confusion(result, classes);
  std::fflush(stdout);
}

void run(const Options& options) {
  apply_common_options(options.common);
  const bool taught = !options.logits.empty();
  const Split split = options.data.split.value_or(Split::val);
  const auto dataset = open_data(options.data, options.common, split, /*allow_unlabelled=*/taught);
  const Model model =
      open_model(options.model, options.weights, options.data, dataset.get(), options.common, options.map);
  const std::vector<std::string>& classes = model.spec.classes;
  const std::unique_ptr<CachedTeacher> teacher = open_teacher(options, classes, *dataset, split);

  catch_interrupts();
  EvaluateOptions settings;
  settings.batch_size = options.batch_size;
  settings.workers = std::min(4, num_threads());
  settings.teacher = teacher.get();
  settings.temperature = options.temperature;
  Evaluation result;
  {
    Progress bar("eval", dataset->size(), options.common.quiet);
    settings.progress = [&](std::int64_t done) {
      if (interrupted()) throw Interrupted{};
      bar.update(done);
    };
    result = evaluate(*model.network, *dataset, model.spec.preprocessing, static_cast<std::int64_t>(classes.size()),
                      settings);
  }
  if (options.common.json)
    std::cout << json_text(to_json(result, classes, dataset->labelled(), taught)) << std::endl;
  else
    print_table(result, classes, dataset->labelled(), taught, options.temperature);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("eval", "Accuracy, top-5, cross-entropy, calibration error, confusion matrix");
  visit_flags(*options, AddFlags(*command));
  command->callback([options] { run(*options); });
}

}  // namespace retort
