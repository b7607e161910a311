// retort sweep: one student for each temperature, lambda and seed, on one data set and one logit store. A part held out
// of the training images chooses; the validation or test part, which chose nothing, is what is reported.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/report/charts.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/distillation.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

struct Options : DistillOptions {
  std::vector<double> temperatures = {1, 2, 5, 10, 20}, lambdas = {0, 0.1, 0.5, 1};
  std::int64_t seeds = 3;
  double hold_out = 0.1;
};

/// One trained student after its last epoch.
struct Run {
  std::uint64_t seed;
  double held_accuracy, held_cross_entropy, test_accuracy;
};

/// All seeds of one temperature and lambda.
struct Cell {
  double temperature, lambda;
  std::vector<Run> runs;

  double mean(double Run::*value) const {
    double sum = 0;
    for (const Run& run : runs) sum += run.*value;
    return sum / static_cast<double>(runs.size());
  }
  std::pair<double, double> range(double Run::*value) const {
    const auto [low, high] = std::ranges::minmax_element(runs, {}, value);
    return {(*low).*value, (*high).*value};
  }
};

std::string run_name(double temperature, double lambda, std::uint64_t seed) {
  return text("T", temperature, "-lambda", lambda, "-seed", seed);
}

DistillOptions options_of(const Options& sweep, double temperature, double lambda, std::uint64_t seed) {
  DistillOptions run = sweep;
  run.temperature = temperature;
  run.lambda = lambda;
  run.common.seed = seed;
  run.common.quiet = true;
  run.always_resume = true;  // a sweep continues where it was stopped
  const std::string path = (std::filesystem::path(sweep.out) / run_name(temperature, lambda, seed)).string();
  run.out = path + ".safetensors";
  run.log = path + ".jsonl";
  return run;
}

/// Every flag of every run is checked before the first one begins.
void validate_sweep(const Options& options) {
  if (options.logits.empty()) throw UsageError("--logits: missing; give the teacher's store, from `retort logits`");
  if (options.temperatures.empty() || options.lambdas.empty())
    throw UsageError("sweep: needs a temperature and a lambda at least");
  if (!(options.hold_out > 0 && options.hold_out < 1))
    throw UsageError(text("--hold-out: ", options.hold_out, " is not in (0, 1); choose a share such as 0.1"));
  for (const double temperature : options.temperatures)
    for (const double lambda : options.lambdas) validate(options_of(options, temperature, lambda, 0));
}

Run train_one(const DistillOptions& options, const TrainingData& data, const Dataset& test,
              const StoredTeacher& teacher) {
  Guidance guidance = cached_guidance(options, teacher);
  set_objective(options, *data.train, guidance);
  run_training(options, options.student, data, std::move(guidance));
  Model model = load_model(options.out);
  to_device(*model.network, compute_device(options.common));
  EvaluateOptions evaluating;
  evaluating.batch_size = options.batch_size;
  evaluating.workers = std::clamp(num_threads(), 1, 4);
  const auto classes = static_cast<std::int64_t>(model.spec.classes.size());
  const Evaluation held = evaluate(*model.network, *data.val, model.spec.preprocessing, classes, evaluating);
  const Evaluation final = evaluate(*model.network, test, model.spec.preprocessing, classes, evaluating);
  return {options.common.seed, held.accuracy, held.cross_entropy, final.accuracy};
}

/// The cell with the highest mean accuracy on the part held out; of equal ones the lowest cross-entropy there.
const Cell& choose(const std::vector<Cell>& cells) {
  return *std::ranges::max_element(cells, {}, [](const Cell& cell) {
    return std::pair(cell.mean(&Run::held_accuracy), -cell.mean(&Run::held_cross_entropy));
  });
}

std::string percent(double share) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%.2f", 100 * share);
  return buffer;
}

std::string with_range(const Cell& cell, double Run::*value) {
  const auto [low, high] = cell.range(value);
  return text(percent(cell.mean(value)), " (", percent(low), "-", percent(high), ")");
}

/// As Markdown, lambda across and T down.
std::string table(const Options& options, const std::vector<Cell>& cells, double Run::*value) {
  std::string lines = "| T \\ lambda |", rule = "|---|";
  for (const double lambda : options.lambdas) {
    lines += text(" ", lambda, " |");
    rule += "---|";
  }
  lines += "\n" + rule + "\n";
  auto cell = cells.begin();
  for (const double temperature : options.temperatures) {
    lines += text("| ", temperature, " |");
    for (std::size_t i = 0; i < options.lambdas.size(); ++i) lines += " " + with_range(*cell++, value) + " |";
    lines += "\n";
  }
  return lines;
}

std::string picture(const Options& options, const std::vector<Cell>& cells) {
  std::vector<std::string> rows, columns;
  std::vector<std::vector<double>> values;
  for (const double lambda : options.lambdas) columns.push_back(text(lambda));
  auto cell = cells.begin();
  for (const double temperature : options.temperatures) {
    rows.push_back(text(temperature));
    values.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) values.back().push_back(100 * (cell++)->mean(&Run::held_accuracy));
  }
  return heat_map("accuracy in % on the images held out", "T", rows, "lambda", columns, values);
}

std::string csv(const std::vector<Cell>& cells) {
  std::string lines = "temperature,lambda,seed,held_out_accuracy,held_out_cross_entropy,accuracy\n";
  for (const Cell& cell : cells)
    for (const Run& run : cell.runs)
      lines += text(cell.temperature, ",", cell.lambda, ",", run.seed, ",", Json(run.held_accuracy).dump(), ",",
                    Json(run.held_cross_entropy).dump(), ",", Json(run.test_accuracy).dump(), "\n");
  return lines;
}

std::string page(const Options& options, const std::vector<Cell>& cells, std::int64_t held, std::int64_t test) {
  const Cell& best = choose(cells);
  return text("Accuracy in % on ", held, " training images held out, which chose; mean of ", options.seeds,
              " seeds (lowest-highest):\n\n", table(options, cells, &Run::held_accuracy), "\nOn the ", test,
              " images that chose nothing:\n\n", table(options, cells, &Run::test_accuracy),
              "\nChosen: T = ", best.temperature, ", lambda = ", best.lambda, ", with ",
              with_range(best, &Run::test_accuracy), " on the images that chose nothing.\n");
}

Json as_json(const std::vector<Cell>& cells) {
  const auto cell_json = [](const Cell& cell) {
    Json json = {{"temperature", cell.temperature},
                 {"lambda", cell.lambda},
                 {"held_out_accuracy", cell.mean(&Run::held_accuracy)},
                 {"accuracy", cell.mean(&Run::test_accuracy)},
                 {"runs", Json::array()}};
    for (const Run& run : cell.runs)
      json["runs"].push_back({{"seed", run.seed},
                              {"held_out_accuracy", run.held_accuracy},
                              {"held_out_cross_entropy", run.held_cross_entropy},
                              {"accuracy", run.test_accuracy}});
    return json;
  };
  Json json = {{"chosen", cell_json(choose(cells))}, {"cells", Json::array()}};
  for (const Cell& cell : cells) json["cells"].push_back(cell_json(cell));
  return json;
}

void run(const Options& options) {
  apply_common_options(options.common);
  validate_sweep(options);
  const std::filesystem::path folder = options.out;
  check_writable((folder / "sweep.md").string());
  const TrainingData whole = open_training_data(options, /*allow_unlabelled=*/false);
  if (!whole.val) throw UsageError("--val-split: 0 leaves no images to report on; give a share such as 0.1");
  const StoredTeacher stored = open_stored_teacher(options, *whole.train);
  warn_of_binary_trap(options, static_cast<std::int64_t>(whole.train->classes().size()));  // its runs are quiet
  HeldOut parts = hold_out(*whole.train, options.hold_out);
  const StoredTeacher teacher = part_of(stored, parts.kept);
  const auto held = static_cast<std::int64_t>(parts.held.size());
  const TrainingData data{pick_samples(whole.train, std::move(parts.kept)),
                          pick_samples(whole.train, std::move(parts.held))};

  std::vector<Cell> cells;
  for (const double temperature : options.temperatures)
    for (const double lambda : options.lambdas) {
      Cell& cell = cells.emplace_back(Cell{temperature, lambda, {}});
      for (std::int64_t i = 0; i < options.seeds; ++i) {
        const DistillOptions one = options_of(options, temperature, lambda, options.common.seed + i);
        cell.runs.push_back(train_one(one, data, *whole.val, teacher));
        say(options.common.quiet, text(run_name(temperature, lambda, one.common.seed), ": held out ",
                                       percent(cell.runs.back().held_accuracy), "%"));
      }
    }

  write_atomic((folder / "sweep.csv").string(), csv(cells));
  const std::string result = page(options, cells, held, whole.val->size());
  write_atomic((folder / "sweep.md").string(), result);
  write_atomic((folder / "sweep.svg").string(), picture(options, cells));
  std::cout << (options.common.json ? json_text(as_json(cells)) + "\n" : result) << std::flush;
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("sweep", "Distils over temperatures, lambdas and seeds, and chooses");
  add_distillation_options(*command, *options);
  for (const char* const flag : {"--resume", "--log", "--report"}) command->remove_option(command->get_option(flag));
  command->get_option("--out")->description("Folder for the students, sweep.csv, sweep.md and sweep.svg");
  as_list(command->add_option("--temperature", options->temperatures, "Temperatures, each above 0"))
      ->capture_default_str();
  as_list(command->add_option("--lambda", options->lambdas, "Weights of the labels, each in [0, 1]"))
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "Runs of each, with seeds from --seed on")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--hold-out", options->hold_out, "Share of the training images that chooses")
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace retort
