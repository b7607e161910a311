// retort sweep: one student for each temperature, lambda and seed, on one data set and one logit store. A part held out
// of the training images chooses; the validation or test part, which chose nothing, is what is reported.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/distill/evaluate.h"
#include "engine/group/group.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/report/charts.h"
#include "engine/report/page.h"
#include "kernels/threads.h"
#include "tools/cli/command_line.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/distillation.h"
#include "tools/run/ranks.h"
#include "tools/run/recipe.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

struct SweepOptions {
  std::string student;
  std::vector<std::string> logits;
  UnlabelledOptions unlabelled;
  TrainingOptions training;
  RunOptions run;  ///< --out is a folder
  ObjectiveOptions objective;
  std::vector<double> temperatures = {1, 2, 5, 10, 20}, lambdas = {0, 0.1, 0.5, 1};
  std::int64_t seeds = 3;
  double hold_out = 0.1;
};

/// The settings of a run say what determines its bits; these rows only choose the runs.
template <class Visitor>
void visit_flags(SweepOptions& o, Visitor&& flag) {
  flag("--student", o.student, "Architecture, e.g. inception_v3", required(anything()));
  visit_flags(o.training.common, flag);
  visit_flags(o.training.data, flag);
  visit_flags(o.run, flag,
              RunFlags{.folder = "Folder for the students, sweep.csv, sweep.md, sweep.svg and sweep.html",
                       .resume = false,
                       .files = false});
  visit_flags(o.training, flag);
  flag("--logits", o.logits, kLogitsHelp, whole_words(anything()));
  visit_flags(o.unlabelled, flag);
  visit_flags(o.objective, flag, ObjectiveFlags{.temperature = nullptr, .lambda = nullptr});
  flag("--temperature", o.temperatures, "Temperatures, each above 0", number_above(0));
  flag("--lambda", o.lambdas, "Weights of the labels, each in [0, 1]", number_in("[0, 1]"));
  flag("--seeds", o.seeds, "Runs of each, with seeds from --seed on", whole_number(1));
  flag("--hold-out", o.hold_out, "Share of the training images that chooses", number_in("(0, 1)"));
}

/// One trained student after its last epoch.
struct Run {
  std::uint64_t seed;
  double held_accuracy, held_cross_entropy, test_accuracy;
};

/// All seeds of one temperature and lambda.
struct Cell {
  double temperature, lambda;
  std::vector<Run> runs;
  bool shared = false;  ///< the runs are those of another temperature, which cannot matter here

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

/// What the students share: the data, the teacher's rows, and the images that judge them.
struct Shared {
  TrainingData data;
  StoredTeacher teacher;
  std::shared_ptr<const Dataset> test;
  UnlabelledSets unlabelled;
};

AskedViews asked_views(const SweepOptions& options, std::uint64_t seed) { return {{}, options.training.augment, seed}; }

/// Every flag of every run is checked before the first one begins.
void validate(SweepOptions& options) {
  // A value that stands twice is one.
  for (std::vector<double>* values : {&options.temperatures, &options.lambdas}) {
    std::vector<double> once;
    for (const double value : *values)
      if (std::ranges::find(once, value) == once.end()) once.push_back(value);
    *values = std::move(once);
  }
  if (options.logits.empty()) throw UsageError("--logits: missing; give the teacher's store, from `retort logits`");
  if (options.temperatures.empty() || options.lambdas.empty())
    throw UsageError("sweep: needs a temperature and a lambda at least");
  validate(options.student, options.training, options.objective, /*stored=*/true);
  validate(options.unlabelled);
}

TrainingRun make_run(const SweepOptions& sweep, const Shared& shared, double temperature, double lambda,
                     std::uint64_t seed) {
  ObjectiveOptions objective = sweep.objective;
  objective.temperature = temperature;
  objective.lambda = lambda;
  const std::string path = (std::filesystem::path(sweep.run.out) / run_name(temperature, lambda, seed)).string();
  TrainingRun run{.architecture = sweep.student,
                  .options = sweep.training,
                  .files = RunFiles{.model = path + ".safetensors", .log = path + ".jsonl", .report = {}},
                  .resume = Resume::always,
                  .data = shared.data,
                  .guidance = cached_guidance(joined(sweep.logits), shared.teacher, asked_views(sweep, seed))};
  run.options.common.seed = seed;
  run.options.common.quiet = true;
  set_unlabelled(sweep.unlabelled, shared.unlabelled, run.guidance);
  settle_length(run);
  set_objective(objective, run.options, *run.data.train, run.guidance);
  return run;
}

Run train_one(const TrainingRun& run, const Dataset& test) {
  run_training(run);
  Model model = load_model(run.files.model);
  to_device(*model.network, compute_device(run.options.common));
  EvaluateOptions evaluating;
  evaluating.batch_size = images_at_a_time(run.options);
  evaluating.workers = std::clamp(num_threads(), 1, 4);
  const auto classes = static_cast<std::int64_t>(model.spec.classes.size());
  const Evaluation held = evaluate(*model.network, *run.data.val, model.spec.preprocessing, classes, evaluating);
  const Evaluation final = evaluate(*model.network, test, model.spec.preprocessing, classes, evaluating);
  return {run.options.common.seed, held.accuracy, held.cross_entropy, final.accuracy};
}

/// The cell with the highest mean accuracy on the part held out; of equal ones the lowest cross-entropy there.
const Cell& choose(const std::vector<Cell>& cells) {
  return *std::ranges::max_element(cells, {}, [](const Cell& cell) {
    return std::pair(cell.mean(&Run::held_accuracy), -cell.mean(&Run::held_cross_entropy));
  });
}

std::string percent_value(double share) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%.2f", 100 * share);
  return buffer;
}

std::string with_range(const Cell& cell, double Run::*value) {
  const auto [low, high] = cell.range(value);
  return text(percent_value(cell.mean(value)), " (", percent_value(low), "-", percent_value(high), ")");
}

/// As Markdown, lambda across and T down.
/// The chosen cell in bold.
std::string table(const SweepOptions& options, const std::vector<Cell>& cells, double Run::*value) {
  const Cell& best = choose(cells);
  std::string lines = "| T \\ lambda |", rule = "|---|";
  for (const double lambda : options.lambdas) {
    lines += text(" ", lambda, " |");
    rule += "---|";
  }
  lines += "\n" + rule + "\n";
  auto cell = cells.begin();
  for (const double temperature : options.temperatures) {
    lines += text("| ", temperature, " |");
    for (std::size_t i = 0; i < options.lambdas.size(); ++i, ++cell) {
      const std::string mark = &*cell == &best ? "**" : "";
      lines += " " + mark + with_range(*cell, value) + mark + " |";
    }
    lines += "\n";
  }
  return lines;
}

/// Half the spread of the seeds, beside the mean: "93.1 ±0.4".
std::string with_spread(const Cell& cell, double Run::*value) {
  const auto [low, high] = cell.range(value);
  char buffer[40];
  if (cell.runs.size() < 2)
    std::snprintf(buffer, sizeof buffer, "%.1f", 100 * cell.mean(value));
  else
    std::snprintf(buffer, sizeof buffer, "%.1f ±%.1f", 100 * cell.mean(value), 50 * (high - low));
  return buffer;
}

std::string picture(const SweepOptions& options, const std::vector<Cell>& cells, double Run::*value,
                    const std::string& title) {
  HeatMapNotes notes;
  std::vector<std::string> rows, columns;
  std::vector<std::vector<double>> values;
  for (const double lambda : options.lambdas) columns.push_back(text(lambda));
  auto cell = cells.begin();
  for (const double temperature : options.temperatures) {
    rows.push_back(text(temperature));
    values.emplace_back();
    notes.contents.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i, ++cell) {
      if (&*cell == &choose(cells)) notes.marked = {values.size() - 1, i};
      values.back().push_back(100 * cell->mean(value));
      notes.contents.back().push_back(with_spread(*cell, value));
    }
  }
  return heat_map(title, "T", rows, "lambda", columns, values, notes);
}

std::string csv(const std::vector<Cell>& cells) {
  std::string lines = "temperature,lambda,seed,held_out_accuracy,held_out_cross_entropy,accuracy\n";
  for (const Cell& cell : cells)
    for (const Run& run : cell.runs)
      lines += text(cell.temperature, ",", cell.lambda, ",", run.seed, ",", Json(run.held_accuracy).dump(), ",",
                    Json(run.held_cross_entropy).dump(), ",", Json(run.test_accuracy).dump(), "\n");
  return lines;
}

std::string page(const SweepOptions& options, const std::vector<Cell>& cells, std::int64_t held, std::int64_t test) {
  const Cell& best = choose(cells);
  return text("Accuracy in % on ", held, " training images held out, which chose; mean of ", options.seeds,
              " seeds (lowest-highest):\n\n", table(options, cells, &Run::held_accuracy), "\nOn the ", test,
              " images that chose nothing:\n\n", table(options, cells, &Run::test_accuracy),
              "\nChosen: T = ", best.temperature, ", lambda = ", best.lambda, ", with ",
              with_range(best, &Run::test_accuracy), " on the images that chose nothing.\n");
}

constexpr const char* kHeldTitle = "accuracy in % on the images held out";

/// The same as a page.
std::string html_page(const SweepOptions& options, const std::vector<Cell>& cells, std::int64_t held,
                      std::int64_t test) {
  const Cell& best = choose(cells);
  Page html("Sweep of " + options.student);
  html.section("Chosen");
  html.paragraph(text("T = ", best.temperature, ", lambda = ", best.lambda, ". Accuracy in % on the ", test,
                      " images that chose nothing: ", with_range(best, &Run::test_accuracy), ", the mean of ",
                      options.seeds, options.seeds == 1 ? " seed." : " seeds (lowest-highest)."));
  html.paragraph(text("The ", held,
                      " training images held out chose: the pair with the highest mean there, framed below; "
                      "of equal ones that with the lower cross-entropy."));
  html.section("All pairs");
  html.figure(picture(options, cells, &Run::held_accuracy, kHeldTitle));
  html.figure(picture(options, cells, &Run::test_accuracy, "accuracy in % on the images that chose nothing"));
  if (std::ranges::any_of(cells, &Cell::shared))
    html.paragraph(
        "Where the temperature cannot matter (lambda = 1, where the labels alone teach, or --loss mse) the students "
        "were trained once.");
  html.begin_fold("Every run");
  std::vector<std::vector<std::string>> rows;
  for (const Cell& cell : cells)
    for (const Run& run : cell.runs)
      rows.push_back({text(cell.temperature), text(cell.lambda), std::to_string(run.seed),
                      percent_value(run.held_accuracy), number(run.held_cross_entropy),
                      percent_value(run.test_accuracy)});
  html.table({"T", "lambda", "seed", "held out, %", "cross-entropy there", "on the others, %"}, rows);
  html.end_fold();
  html.command(command_line());
  return html.str();
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

/// The part that --hold-out names chooses; the data's own validation part is kept for the end.
Shared open_shared(const SweepOptions& options) {
  const TrainingOptions& training = options.training;
  const TrainingData whole = open_training_data(training, /*allow_unlabelled=*/false);
  if (!whole.val) throw UsageError("--val-split: 0 leaves no images to report on; give a share such as 0.1");
  // The runs are quiet.
  const auto classes = static_cast<std::int64_t>(whole.train->classes().size());
  warn_of_binary_trap(options.objective, classes, training.common.quiet);
  HeldOut parts = hold_out(*whole.train, options.hold_out);
  const UnlabelledSets sets = open_unlabelled(options.unlabelled, training.data, training.common);
  const std::shared_ptr<const Dataset> train = join_sets(
      pick_samples(whole.train, parts.kept), sets, options.unlabelled, training.batch_size, training.common.quiet);
  StoredTeacher teacher = options.logits.size() == 1 && sets.empty()
                              ? part_of(open_store(options.logits[0], whole.train->classes(), *whole.train,
                                                   Split::train, training.data, training.common),
                                        parts.kept)
                              : open_stores(options.logits, *train, *whole.train, sets, training.data, training.common);
  say_unseen_views(joined(options.logits), teacher.store, asked_views(options, training.common.seed),
                   training.common.quiet);
  for (const double temperature : options.temperatures)
    say_teacher(teacher, *train, {.temperature = temperature, .loss = options.objective.loss}, training.common.quiet);
  return {.data = TrainingData{train, pick_samples(whole.train, std::move(parts.held))},
          .teacher = std::move(teacher),
          .test = whole.val,
          .unlabelled = sets};
}

/// The soft term has no temperature, or no weight; of pictures without labels it always has one.
bool temperature_is_idle(const SweepOptions& options, double lambda) {
  const ObjectiveOptions& objective = options.objective;
  if (objective.loss == SoftLoss::mse && !objective.standardize_logits) return true;  // it compares logits as they are
  return lambda == 1 && options.unlabelled.folders.empty() && objective.convention == Convention::convex &&
         !objective.lambda_end;
}

/// Whether the students of this pair are those of the first temperature.
bool is_shared(const SweepOptions& options, double temperature, double lambda) {
  return temperature != options.temperatures.front() && temperature_is_idle(options, lambda);
}

std::vector<Cell> train_all(const SweepOptions& options, const Shared& shared) {
  const CommonOptions& common = options.training.common;
  std::vector<Cell> cells;
  for (const double temperature : options.temperatures)
    for (const double lambda : options.lambdas) {
      if (is_shared(options, temperature, lambda)) {
        Cell copy{temperature, lambda, std::ranges::find(cells, lambda, &Cell::lambda)->runs, /*shared=*/true};
        cells.push_back(std::move(copy));
        continue;
      }
      Cell& cell = cells.emplace_back(Cell{temperature, lambda, {}});
      for (std::int64_t i = 0; i < options.seeds; ++i) {
        const std::uint64_t seed = common.seed + i;
        cell.runs.push_back(train_one(make_run(options, shared, temperature, lambda, seed), *shared.test));
        say(common.quiet, text(run_name(temperature, lambda, seed), ": held out ",
                               percent_value(cell.runs.back().held_accuracy), "%"));
      }
    }
  return cells;
}

/// Whole runs are handed to the group's ranks, in turn. What they leave in the folder rank 0 finds finished.
void train_share(const SweepOptions& options, const Shared& shared) {
  RunShare share;
  for (const double temperature : options.temperatures)
    for (const double lambda : options.lambdas) {
      if (is_shared(options, temperature, lambda)) continue;
      for (std::int64_t i = 0; i < options.seeds; ++i)
        share.train([&] { return make_run(options, shared, temperature, lambda, options.training.common.seed + i); });
    }
  group().barrier();
}

void run_sweep(SweepOptions& options) {
  const bool first = begin_shared(options.training.common);
  validate(options);
  const std::filesystem::path folder = options.run.out;
  std::optional<FileLock> lock;
  if (first) {
    lock.emplace((folder / "sweep.md").string());
    check_writable((folder / "sweep.md").string());
  }
  const Shared shared = open_shared(options);
  if (group().size() > 1) {
    check_command({shared.data.train.get(), shared.data.val.get(), shared.test.get()});
    train_share(options, shared);
    if (!first) return;
  }
  const Alone alone;
  const std::vector<Cell> cells = train_all(options, shared);
  write_atomic((folder / "sweep.csv").string(), csv(cells));
  const std::string result = page(options, cells, shared.data.val->size(), shared.test->size());
  write_atomic((folder / "sweep.md").string(), result);
  write_atomic((folder / "sweep.svg").string(), picture(options, cells, &Run::held_accuracy, kHeldTitle));
  write_atomic((folder / "sweep.html").string(),
               html_page(options, cells, shared.data.val->size(), shared.test->size()));
  std::cout << (options.training.common.json ? json_text(as_json(cells)) + "\n" : result) << std::flush;
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  add_command<SweepOptions>(app, "sweep", "Distils over temperatures, lambdas and seeds, and chooses", run_sweep);
}

}  // namespace retort
