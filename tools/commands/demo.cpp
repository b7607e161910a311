// retort demo: the whole pipeline, from pictures that it draws itself to a distilled student, told step by step.
//
// The case in which a teacher pays: it has learnt from many labelled pictures, the student has few of its own, and a
// pile of pictures that nobody has labelled, of which the teacher's scores tell it something. The mark to beat is the
// same student on its labels alone, with the same number of pictures seen and the same augmentation, at the best of
// three learning rates; three seeds of each.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/json.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/commands/distill.h"
#include "tools/run/draw.h"
#include "tools/run/logits.h"
#include "tools/run/recipe.h"

namespace retort {
namespace {

struct DemoOptions {
  CommonOptions common;
  std::string out = "retort-demo";
};

template <class Visitor>
void visit_flags(DemoOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("-o,--out", o.out, "Folder for pictures, models and logits", anything());
}

// Small enough for two cores in about two minutes.
constexpr std::int64_t kPictureSize = 40, kImageSize = 32;
constexpr std::int64_t kTeachersPerClass = 200, kOwnPerClass = 8, kPilePerClass = 200, kTestPerClass = 250;
constexpr std::int64_t kTeacherEpochs = 12, kStudentEpochs = 12, kViews = 4;
// As many pictures as the distilled student sees in its epochs.
constexpr std::int64_t kLabelEpochs = kStudentEpochs * (kOwnPerClass + kPilePerClass) / kOwnPerClass;
constexpr std::int64_t kSeeds = 3;
constexpr double kLr = 0.003;
constexpr double kLabelRates[] = {kLr, 0.01, 0.03};
constexpr const char* kTeacher = "resnet20";
constexpr const char* kStudent = "resnet8";

struct Mean {
  double value = 0, error = 0;  ///< of the seeds' mean: their deviation over the root of their number
};

Mean mean_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Mean mean;
  for (const double value : values) mean.value += value / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean.value) * (value - mean.value);
  mean.error = std::sqrt(squares / (n - 1) / n);
  return mean;
}

/// The steps share these; `tell` says what each does and the command that would do it.
class Demo {
 public:
  explicit Demo(const DemoOptions& options) : options_(options), quiet_(options.common.quiet) {}

  void run() {
    draw();
    const Row teacher = judge("teacher", {teach()});
    write_logits("own", "own.npy", "own.csv");
    write_logits("pile", "pile.npy", "pile.csv");
    const Row alone = best_alone();
    std::vector<TrainingOutcome> distilled;
    for (std::int64_t i = 0; i < kSeeds; ++i) distilled.push_back(distill(i));
    print(teacher, alone, judge("student, distilled", distilled));
  }

 private:
  /// One network, or the same by several seeds.
  struct Row {
    std::string name, file;  ///< the file of the first
    std::vector<double> accuracies;
    double images_per_second = 0;
    std::int64_t parameters = 0, bytes = 0;
  };

  std::string path(const std::string& name) const { return options_.out + "/" + name; }

  void tell(const std::string& why, const std::string& command) const {
    say(quiet_, "");
    say(quiet_, why);
    if (!command.empty()) say(quiet_, "  $ retort " + command);
  }

  void draw() const {
    const auto shapes = static_cast<std::int64_t>(shape_names().size());
    tell(text("Drawing pictures of ", shapes, " shapes in ", options_.out, ": ", shapes * kTeachersPerClass,
              " with labels for a teacher, ", shapes * kOwnPerClass, " with labels of your own, a pile of ",
              shapes * kPilePerClass, " that nobody has labelled, and ", shapes * kTestPerClass, " to be judged by."),
         "");
    const std::uint64_t seed = options_.common.seed;
    std::int64_t first = 0;
    const auto next = [&](std::int64_t count) {
      const Drawn drawn{first, count};
      first += count;
      return drawn;
    };
    draw_class_folders(path("teachers"), next(kTeachersPerClass), kPictureSize, seed);
    draw_class_folders(path("own"), next(kOwnPerClass), kPictureSize, seed);
    draw_pile(path("pile"), next(kPilePerClass), kPictureSize, seed);
    draw_class_folders(path("test/val"), next(kTestPerClass), kPictureSize, seed);
  }

  TrainingOptions training_on(const std::string& folder, std::int64_t epochs, std::int64_t seed) const {
    TrainingOptions training;
    training.common = options_.common;
    training.common.seed += static_cast<std::uint64_t>(seed);
    training.data.path = path(folder);
    training.data.val_split = 0;
    training.data.image_size = kImageSize;
    training.epochs = epochs;
    training.lr = kLr;
    return training;
  }

  static std::string flags(const TrainingOptions& training, const std::string& out) {
    return text(" --data ", training.data.path, " --val-split 0 --image-size ", kImageSize, " --epochs ",
                *training.epochs, " --lr ", *training.lr, " --seed ", training.common.seed, " --out ", out);
  }

  RunFiles files(const std::string& name) const {
    return {.model = path(name + ".safetensors"), .log = path(name + ".jsonl"), .report = {}};
  }

  TrainingOutcome train(const std::string& model, const TrainingOptions& training, const std::string& name) const {
    TrainingRun run{.architecture = model, .options = training, .files = files(name), .resume = Resume::never};
    run.data = open_training_data(training, /*allow_unlabelled=*/false);
    run.guidance.augmentation = augmentation_of(training, *run.data.train);
    run.guidance.view_seed = training.common.seed;
    return run_training(run);
  }

  TrainingOutcome teach() const {
    const TrainingOptions training = training_on("teachers", kTeacherEpochs, 0);
    tell("A teacher learns from its many labels.",
         text("train --model ", kTeacher, flags(training, files("teacher").model)));
    return train(kTeacher, training, "teacher");
  }

  void write_logits(const std::string& folder, const std::string& store, const std::string& table) const {
    LogitsOptions logits;
    logits.common = options_.common;
    logits.common.json = false;
    logits.data.path = path(folder);
    logits.data.val_split = 0;
    logits.data.split = Split::train;
    logits.model = path("teacher.safetensors");
    logits.views = kViews;
    logits.out = path(store);
    logits.csv = path(table);
    tell(text("Its raw scores of ", kViews, " crops of each picture in ", folder,
              " are saved: an array for NumPy, an index that ties rows to pictures, a table to look at."),
         text("logits --model ", logits.model, " --data ", logits.data.path, " --val-split 0 --split train --views ",
              kViews, " --out ", logits.out, " --csv ", logits.csv));
    logits.restart = true;
    run_logits(logits);
  }

  /// The learning rate is chosen by the pictures that judge, which favours the labels.
  Row best_alone() const {
    tell("A small student learns from the few labels alone, at three learning rates: the best is the mark to beat.",
         text("train --model ", kStudent, flags(training_on("own", kLabelEpochs, 0), files("labels-0").model)));
    std::vector<Row> rows;
    for (const double lr : kLabelRates) {
      std::vector<TrainingOutcome> outcomes;
      for (std::int64_t i = 0; i < kSeeds; ++i) outcomes.push_back(train_alone(lr, i));
      rows.push_back(judge(text("student, labels, lr ", lr), outcomes));
    }
    return *std::ranges::max_element(rows, {}, [](const Row& row) { return mean_of(row.accuracies).value; });
  }

  TrainingOutcome train_alone(double lr, std::int64_t seed) const {
    const std::string name = text("labels-", lr == kLr ? "" : text(lr, "-"), seed);
    TrainingOptions training = training_on("own", kLabelEpochs, seed);
    training.lr = lr;
    training.common.quiet = true;  // hundreds of epochs of one batch each
    TrainingOutcome outcome = train(kStudent, training, name);
    say(quiet_, text("saved ", outcome.model));
    return outcome;
  }

  TrainingOutcome distill(std::int64_t seed) const {
    const std::string name = text("distilled-", seed);
    DistillOptions options;
    options.student = kStudent;
    options.training = training_on("own", kStudentEpochs, seed);
    options.training.common.quiet = quiet_ || seed > 0;
    options.run.out = files(name).model;
    options.run.log = files(name).log;
    if (seed == 0) options.run.report = path("report.html");
    options.teacher.logits = {path("own.npy"), path("pile.npy")};
    options.unlabelled.folders = {path("pile")};
    if (seed == 0)
      tell(
          "The same student learns from the scores of the pile and of its own pictures, softened by a temperature of "
          "4, and a "
          "tenth from the labels where it has them.",
          text("distill --student ", kStudent, " --unlabelled ", path("pile"), " --logits ", path("own.npy"),
               " --logits ", path("pile.npy"), " --report ", options.run.report,
               flags(options.training, options.run.out)));
    TrainingRun run = make_run(options);
    run.resume = Resume::never;
    TrainingOutcome outcome = run_training(run);
    if (seed > 0) say(quiet_, text("saved ", outcome.model));
    return outcome;
  }

  /// Loads the files again, as a user would, and judges them.
  Row judge(const std::string& name, const std::vector<TrainingOutcome>& outcomes) const {
    Row row;
    row.name = name;
    row.file = outcomes.front().model;
    row.parameters = outcomes.front().parameters;
    row.bytes = static_cast<std::int64_t>(std::filesystem::file_size(row.file));
    DataOptions data;
    data.path = path("test");
    const auto test = open_data(data, options_.common, Split::val, /*allow_unlabelled=*/false);
    const auto start = std::chrono::steady_clock::now();
    for (const TrainingOutcome& outcome : outcomes) {
      Model model = load_model(outcome.model);
      row.accuracies.push_back(evaluate(*model.network, *test, model.spec.preprocessing,
                                        static_cast<std::int64_t>(model.spec.classes.size()), EvaluateOptions{})
                                   .accuracy);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    row.images_per_second = static_cast<double>(test->size()) * static_cast<double>(outcomes.size()) / seconds;
    return row;
  }

  void print(const Row& teacher, const Row& alone, const Row& distilled) const {
    std::vector<double> gains;
    for (std::size_t i = 0; i < alone.accuracies.size(); ++i)
      gains.push_back(distilled.accuracies[i] - alone.accuracies[i]);
    const Mean gain = mean_of(gains);
    if (options_.common.json)
      print_json({teacher, alone, distilled}, gain);
    else
      print_table({teacher, alone, distilled}, gain);
  }

  static void print_json(const std::vector<Row>& rows, Mean gain) {
    nlohmann::ordered_json json = {{"results", nlohmann::ordered_json::array()}};
    for (const Row& row : rows)
      json["results"].push_back({{"name", row.name},
                                 {"model", row.file},
                                 {"accuracy", mean_of_one_or_more(row.accuracies)},
                                 {"accuracies", row.accuracies},
                                 {"parameters", row.parameters},
                                 {"bytes", row.bytes},
                                 {"images_per_second", row.images_per_second}});
    json["gain"] = {{"accuracy", gain.value}, {"standard_error", gain.error}};
    std::cout << json_text(json) << std::endl;
  }

  static double mean_of_one_or_more(const std::vector<double>& values) {
    return values.size() > 1 ? mean_of(values).value : values.front();
  }

  void print_table(const std::vector<Row>& rows, Mean gain) const {
    std::printf("\n%-28s %9s %18s %12s %10s %10s\n", "", "accuracy", "lowest to highest", "parameters", "bytes",
                "images/s");
    for (const Row& row : rows) {
      const auto [low, high] = std::ranges::minmax(row.accuracies);
      std::printf("%-28s %8.1f%%", row.name.c_str(), 100 * mean_of_one_or_more(row.accuracies));
      if (row.accuracies.size() > 1)
        std::printf("   %5.1f%% to %5.1f%%", 100 * low, 100 * high);
      else
        std::printf(" %18s", "");
      std::printf(" %12lld %10lld %10.0f\n", static_cast<long long>(row.parameters), static_cast<long long>(row.bytes),
                  row.images_per_second);
    }
    std::printf(
        "\nDistilling gains %.1f points, with a standard error of %.1f, over labels alone: %lld seeds of each and the "
        "same\nnumber of pictures seen, on %lld pictures that no network has learnt from. They chose the learning rate "
        "of\nlabels alone, which favours these, and nothing else.\n",
        100 * gain.value, 100 * gain.error, static_cast<long long>(kSeeds),
        static_cast<long long>(shape_names().size()) * static_cast<long long>(kTestPerClass));
    std::printf(
        "\nThe page about the distilled student: %s\n"
        "Next, with your own folder of class folders, and a pile without labels:\n"
        "  retort train   --model resnet50 --data photos --out teacher.safetensors\n"
        "  retort distill --student inception_v3 --data photos --unlabelled pile --teacher teacher.safetensors --out "
        "student.safetensors\n"
        "A teacher that you have, .onnx, .pth or .keras, does better: docs/guide/teacher.md.\n",
        path("report.html").c_str());
  }

  const DemoOptions& options_;
  bool quiet_;
};

}  // namespace

void add_demo_command(CLI::App& app) {
  add_command<DemoOptions>(app, "demo", "The whole pipeline on pictures that it draws itself",
                           [](const DemoOptions& options) {
                             apply_common_options(options.common);
                             Demo(options).run();
                           });
}

}  // namespace retort
