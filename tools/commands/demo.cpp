// retort demo: the whole pipeline, from pictures that it draws itself to a distilled student, told step by step.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/json.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/distillation.h"
#include "tools/run/draw.h"
#include "tools/run/logits.h"
#include "tools/run/teachers.h"
#include "tools/run/training.h"

namespace retort {
namespace {

struct Options {
  CommonOptions common;
  std::string out = "retort-demo";
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("-o,--out", o.out, "Folder for pictures, models and logits", anything());
}

// Small enough for two cores in about three minutes: 75 px is the least that InceptionV3 takes.
constexpr std::int64_t kPictureSize = 80, kImageSize = 75, kTrainPerClass = 200, kValPerClass = 50;
constexpr std::int64_t kTeacherEpochs = 4, kStudentEpochs = 6;

/// The steps share these; `say` tells what each does and the command that would do it.
class Demo {
 public:
  explicit Demo(const Options& options) : options_(options), quiet_(options.common.quiet) {}

  void run() {
    draw();
    TrainingOutcome teacher =
        train("resnet50", "teacher", kTeacherEpochs,
              "A big teacher learns the labels. Its scores will say more than a label can: that a "
              "ring looks a little like a circle, and not at all like a cross.");
    write_logits();
    TrainingOutcome alone = train("inception_v3", "student-labels", kStudentEpochs,
                                  "A student learns from the labels alone: the mark to beat.");
    TrainingOutcome distilled = distill();
    print({row("teacher: resnet50", teacher), row("student, labels alone: inception_v3", alone),
           row("student, distilled: inception_v3", distilled)});
  }

 private:
  struct Row {
    std::string name, file;
    double accuracy = 0, images_per_second = 0;
    std::int64_t parameters = 0, bytes = 0;
  };

  std::string path(const std::string& name) const { return options_.out + "/" + name; }

  void tell(const std::string& why, const std::string& command) const {
    say(quiet_, "");
    say(quiet_, why);
    if (!command.empty()) say(quiet_, "  $ retort " + command);
  }

  void draw() const {
    tell(text("Drawing ", shape_names().size() * kTrainPerClass, " pictures to learn from and ",
              shape_names().size() * kValPerClass, " to be judged by, one folder a class, in ", path("shapes"), "."),
         "");
    draw_dataset(path("shapes"), kTrainPerClass, kValPerClass, kPictureSize, options_.common.seed);
  }

  TrainingRun run_for(const std::string& architecture, const std::string& name, std::int64_t epochs) const {
    TrainingRun run{.architecture = architecture,
                    .files = {.model = path(name + ".safetensors"), .log = path(name + ".jsonl"), .report = {}},
                    .resume = Resume::never};
    TrainingOptions& training = run.options;
    training.common = options_.common;
    training.data.path = path("shapes");
    training.data.image_size = kImageSize;
    training.epochs = epochs;
    training.optimizer = OptimizerKind::adamw;
    training.batch_size = 20;
    training.warmup_epochs = 1;
    run.data = open_training_data(training, /*allow_unlabelled=*/false);
    return run;
  }

  std::string flags(const TrainingRun& run) const {
    const TrainingOptions& training = run.options;
    return text(" --data ", training.data.path, " --image-size ", kImageSize, " --epochs ", training.epochs,
                " --batch-size ", training.batch_size, " --optimizer ", one_of(kOptimizers).word_of(training.optimizer),
                " --warmup-epochs ", training.warmup_epochs, " --out ", run.files.model);
  }

  TrainingOutcome train(const std::string& model, const std::string& name, std::int64_t epochs,
                        const std::string& why) {
    const TrainingRun run = run_for(model, name, epochs);
    tell(why, "train --model " + model + flags(run));
    return run_training(run);
  }

  void write_logits() {
    for (const auto& [split, word] : kSplits) {
      LogitsOptions logits;
      logits.common = options_.common;
      logits.common.json = false;
      logits.data.path = path("shapes");
      logits.data.split = split;
      logits.model = path("teacher.safetensors");
      logits.out = path(text("logits-", word, ".npy"));
      logits.csv = path(text("logits-", word, ".csv"));
      tell(text("The teacher's raw scores on the ", word,
                " pictures are saved: an array for NumPy, an index that ties each "
                "row to its picture, a table to look at."),
           text("logits --model ", logits.model, " --data ", logits.data.path, " --split ", word, " --out ", logits.out,
                " --csv ", logits.csv));
      run_logits(logits);
    }
  }

  TrainingOutcome distill() {
    TrainingRun run = run_for("inception_v3", "student-distilled", kStudentEpochs);
    const TrainingOptions& training = run.options;
    const std::string logits = path("logits-train.npy"), val_logits = path("logits-val.npy");
    ObjectiveOptions objective;
    objective.temperature = 4;
    objective.lambda = 0.1;
    tell("The same student learns from the saved scores, softened by a temperature of 4, and a tenth from the labels.",
         text("distill --student ", run.architecture, " --logits ", logits, " --val-logits ", val_logits,
              " --temperature ", objective.temperature, " --lambda ", *objective.lambda, flags(run)));
    const Dataset& train = *run.data.train;
    const StoredTeacher stored =
        open_store(logits, train.classes(), train, Split::train, training.data, training.common);
    run.guidance = cached_guidance(logits, stored, {});
    run.guidance.val_teacher = cached_teacher(val_logits, *run.data.val);
    run.guidance.val = run.guidance.val_teacher.get();
    set_objective(objective, training, train, run.guidance);
    return run_training(run);
  }

  /// Loads the file again, as a user would, and judges it.
  Row row(const std::string& name, const TrainingOutcome& outcome) const {
    Row row{.name = name, .file = outcome.model, .parameters = outcome.parameters};
    row.bytes = static_cast<std::int64_t>(std::filesystem::file_size(outcome.model));
    Model model = load_model(outcome.model);
    DataOptions data;
    data.path = path("shapes");
    const auto val = open_data(data, options_.common, Split::val, false);
    const auto start = std::chrono::steady_clock::now();
    row.accuracy =
        evaluate(*model.network, *val, model.spec.preprocessing, model.spec.classes.size(), EvaluateOptions{}).accuracy;
    row.images_per_second =
        val->size() / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return row;
  }

  void print(const std::vector<Row>& rows) const {
    if (options_.common.json) {
      nlohmann::ordered_json json = {{"results", nlohmann::ordered_json::array()}};
      for (const Row& row : rows)
        json["results"].push_back({{"name", row.name},
                                   {"model", row.file},
                                   {"accuracy", row.accuracy},
                                   {"parameters", row.parameters},
                                   {"bytes", row.bytes},
                                   {"images_per_second", row.images_per_second}});
      std::cout << json_text(json) << std::endl;
      return;
    }
    std::printf("\n%-38s %9s %12s %12s %10s\n", "", "accuracy", "parameters", "bytes", "images/s");
    for (const Row& row : rows)
      std::printf("%-38s %8.2f%% %12lld %12lld %10.1f\n", row.name.c_str(), 100 * row.accuracy,
                  static_cast<long long>(row.parameters), static_cast<long long>(row.bytes), row.images_per_second);
    std::printf(
        "\nOn %lld pictures that no network has learnt from; one run with seed %llu, so a few points are chance.\n",
        static_cast<long long>(shape_names().size() * kValPerClass),
        static_cast<unsigned long long>(options_.common.seed));
  }

  const Options& options_;
  bool quiet_;
};

}  // namespace

void add_demo_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("demo", "The whole pipeline on pictures that it draws itself");
  visit_flags(*options, AddFlags(*command));
  command->callback([options] {
    apply_common_options(options->common);
    Demo(*options).run();
  });
}

}  // namespace retort
