// retort eval: how good a model is on labelled data, and how close to a teacher's logits.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/distill/teacher.h"
#include "engine/group/group.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/at_work.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"
#include "tools/run/ranks.h"
#include "tools/run/seen_pictures.h"
#include "tools/run/stored_teacher.h"

namespace retort {
namespace {

constexpr std::size_t kTop = 5;                   // of so many classes or fewer, every answer is among the top five
constexpr std::size_t kMaxConfusionClasses = 20;  // printed; --json always has the whole matrix

struct EvalOptions {
  CommonOptions common;
  DataOptions data;
  ClassMapOptions map;
  std::string model, weights, logits;
  double temperature = 1;
  std::int64_t batch_size = 32;
};

template <class Visitor>
void visit_flags(EvalOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = "{} (default: test, else val, else all that the model was not trained on)"});
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  visit_flags(o.map, flag);
  flag("--logits", o.logits, "A teacher's logit store: adds soft cross-entropy, KL, agreement", anything());
  flag("--temperature", o.temperature, "T of the teacher's terms", number_above(0));
  flag("--batch-size", o.batch_size, "Images at a time", whole_number(1));
}

std::unique_ptr<CachedTeacher> open_teacher(const EvalOptions& options, const std::vector<std::string>& classes,
                                            const Dataset& dataset, Split split) {
  if (options.logits.empty()) return nullptr;
  auto [store, rows] = open_store(options.logits, classes, dataset, split, options.data, options.common);
  check(!store.augmentation.any(), options.logits, ": holds augmented views, and an evaluation sees centred ones; ",
        "make a store with --views 1");
  check(store.classes == classes, options.logits, ": its classes differ from the model's; use a teacher of the same ",
        "classes");
  return std::make_unique<CachedTeacher>(std::move(store), std::move(rows));
}

struct OpenedPart {
  std::unique_ptr<Dataset> dataset;
  Split split;
};

/// What --split says; without it the test part, else the validation part. A folder without parts is used whole, unless
/// the model was trained on it: then what that training held out.
OpenedPart open_part(const EvalOptions& options) {
  const DataOptions& data = options.data;
  const CommonOptions& common = options.common;
  const bool unlabelled = !options.logits.empty();
  const auto open = [&](const DataOptions& part, Split split, bool whole) {
    return OpenedPart{open_data(part, common, split, unlabelled, whole), split};
  };
  if (data.split) return open(data, *data.split, false);
  const DataReading reading = read_data(data, unlabelled);
  if (reading.test) return open(data, Split::test, false);
  if (!reading.undivided()) return open(data, Split::val, false);

  std::map<std::string, std::string> notes;
  if (options.weights.empty() && std::filesystem::exists(options.model)) notes = load_model(options.model).spec.notes;
  OpenedPart all = open(data, Split::train, true);
  const Recognised seen = recognise_pictures(notes, *all.dataset);
  if (seen.found == 0) {
    say_at_work(common.quiet, text("judged on all ", all.dataset->size(), " pictures",
                                   seen.remembered > 0 ? ", on none of which it was trained"
                                                       : "; whether it was trained on them its file does not say"));
    return all;
  }
  DataOptions held = data;
  // The share of the training, unless another is asked for.
  if (notes.contains(kValSplitNote) && held.val_split == DataOptions{}.val_split)
    held.val_split = std::stod(notes.at(kValSplitNote));
  OpenedPart part = open(held, Split::val, false);
  const std::int64_t leaked = recognise_pictures(notes, *part.dataset).found;
  say_at_work(common.quiet, text("judged on the ", part.dataset->size(), " of ", all.dataset->size(),
                                 " pictures held out: ", options.model, " was trained on the others (--val-split ",
                                 held.val_split, ")"));
  if (leaked > 0)
    say_at_work(common.quiet, text("warning: it was trained on ", leaked,
                                   " of these at least: the folder has changed since; "
                                   "give pictures of their own to judge it by"));
  return part;
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
                               bool taught, nlohmann::ordered_json data) {
  nlohmann::ordered_json json = {{"samples", result.samples}, {"data", std::move(data)}};
  if (labelled) {
    json["accuracy"] = result.accuracy;
    if (classes.size() > kTop) json["top5_accuracy"] = result.top5_accuracy;
    if (result.binary) {
      json["positive_class"] = classes[1];
      json["precision"] = result.binary->precision;
      json["recall"] = result.binary->recall;
      json["f1"] = result.binary->f1;
      json["auc"] = result.binary->auc;
    }
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

void print_binary(const BinaryEvaluation& binary, const std::string& positive) {
  std::printf("of '%s'\n", visible_name(positive).c_str());
  std::printf("%-20s %.2f%%\n", "  precision", 100 * binary.precision);
  std::printf("%-20s %.2f%%\n", "  recall", 100 * binary.recall);
  std::printf("%-20s %.4f\n", "  F1", binary.f1);
  std::printf("%-20s %.4f\n", "  AUC", binary.auc);
}

void print_confusion(const Evaluation& result, std::vector<std::string> classes) {
  std::size_t width = 6;
  std::ranges::transform(classes, classes.begin(), visible_name);
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
    if (classes.size() > kTop) std::printf("%-20s %.2f%%\n", "top-5 accuracy", 100 * result.top5_accuracy);
    if (result.binary) print_binary(*result.binary, classes[1]);
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

void run_eval(const EvalOptions& given) {
  EvalOptions options = given;
  const bool first = begin_shared(options.common);
  const bool taught = !options.logits.empty();
  const auto [dataset, split] = open_part(options);
  const Model model =
      open_model(options.model, options.weights, options.data, dataset.get(), options.common, options.map);
  const std::vector<std::string>& classes = model.spec.classes;
  const std::unique_ptr<CachedTeacher> teacher = open_teacher(options, classes, *dataset, split);

  check_command({dataset.get()});
  catch_interrupts();
  EvaluateOptions settings;
  settings.batch_size = options.batch_size;
  settings.parts = {.count = group().size(), .first = group().rank()};
  settings.workers = std::min(4, num_threads());
  settings.teacher = teacher.get();
  settings.temperature = options.temperature;
  Evaluation result;
  {
    Progress bar("eval", dataset->size(), options.common.quiet);
    settings.progress = [&](std::int64_t done) {
      if (group().any(interrupted())) throw Interrupted{.of_all = true};
      bar.update(done);
    };
    result = evaluate(*model.network, *dataset, model.spec.preprocessing, static_cast<std::int64_t>(classes.size()),
                      settings);
  }
  if (!first) return;
  if (options.common.json)
    std::cout << json_text(to_json(result, classes, dataset->labelled(), taught, data_json(*dataset))) << std::endl;
  else
    print_table(result, classes, dataset->labelled(), taught, options.temperature);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  add_command<EvalOptions>(app, "eval", "Accuracy, top-5, cross-entropy, calibration error, confusion matrix",
                           run_eval);
}

}  // namespace retort
