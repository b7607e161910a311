// The program of a bundle: says what the model that lies behind it, in its own file, takes pictures for, as
// `retort predict` does.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/own_path.h"
#include "kernels/threads.h"
#include "models/bundle.h"
#include "tools/cli/flags.h"
#include "tools/cli/outcome.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"
#include "tools/run/picture_files.h"
#include "tools/run/predictions.h"

namespace retort {
namespace {

struct Options {
  std::vector<std::string> images;
  std::int64_t top = 5;
  std::string csv;
  bool skip_bad = false, json = false, quiet = false;
  std::optional<int> threads;
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  flag("IMAGE", o.images, "Image files, or folders of them; - for a picture on standard input", required(anything()));
  flag("--top", o.top, "Classes to name for each image", whole_number(1));
  flag("--csv", o.csv, "Table to write: name, prediction, every class's probability", file_name(".csv"));
  flag("--json", o.json, "Print one JSON object on stdout", anything());
  flag("--skip-bad", o.skip_bad, "List and leave out files that can't be decoded", anything());
  flag("--threads", o.threads, "CPU threads (default: all cores)", whole_number(1, 1024));
  flag("--quiet", o.quiet, "No progress, no remarks", anything());
}

void classify(const Options& options, const std::string& bundle) {
  if (options.threads) set_num_threads(*options.threads);
  if (!options.csv.empty()) check_writable(options.csv);
  const Model model = load_bundle(bundle);
  const PictureFiles pictures(expand_pictures(options.images, options.quiet), options.skip_bad);
  const std::vector<std::string>& classes = model.spec.classes;
  const auto count = static_cast<std::int64_t>(classes.size()), top = std::min(options.top, count);
  catch_interrupts();
  const Predictions predictions = predict(model, pictures, options.csv.empty() ? top : count, options.quiet);
  Told told{pictures, classes, predictions, {}};
  for (std::int64_t i = 0; i < pictures.size(); ++i) told.shown.push_back(i);
  if (!options.csv.empty()) {
    write_atomic(options.csv, predictions_csv(told));
    say(options.quiet, text("saved ", told.shown.size(), " rows in ", options.csv));
  }
  if (options.json)
    std::cout << json_text(predictions_json(told, top)) << std::endl;
  else
    print_predictions(told, top);
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  const std::string bundle = own_path();
  CLI::App app("Classes and probabilities of pictures, by the model in this file.",
               std::filesystem::path(bundle).filename().string());
  Options options;
  AddFlags flags(app);
  visit_flags(options, flags);
  return outcome(
      app,
      [&] {
        app.parse(argc, argv);
        classify(options, bundle);
      },
      say_error);
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): what else comes out is a defect
  try {
    const retort::VisibleOutput visible;
    return retort::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("classify: out of memory; free some\n", stderr);
    return retort::kFailed;
  }
}
