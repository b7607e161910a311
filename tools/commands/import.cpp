// retort import: a checkpoint from elsewhere becomes a model file, which says of itself what the other commands need.
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

struct Options {
  CommonOptions common;
  DataOptions data;
  std::string model, weights, out;
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.data = "Images whose classes the checkpoint knows"});
  flag("--model", o.model, "Architecture, e.g. resnet50", required(anything()));
  flag("--weights", o.weights, "Checkpoint (.safetensors)", required(anything()));
  flag("-o,--out", o.out, "Model file to write (.safetensors)", required(file_name(".safetensors")));
}

void run(const Options& options) {
  apply_common_options(options.common);
  if (!is_architecture(options.model)) throw UsageError(text("--model: ", no_architecture(options.model)));
  check_writable(options.out);
  const auto dataset = open_data(options.data, options.common, Split::train, /*allow_unlabelled=*/true);
  const Model model = open_model(options.model, options.weights, options.data, dataset.get(), options.common);
  save_model(options.out, *model.network, model.spec);
  say(options.common.quiet,
      text("saved ", options.out, ": ", options.model, ", ", model.spec.classes.size(), " classes, images ",
           model.spec.preprocessing.image_size, " x ", model.spec.preprocessing.image_size));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"model", options.out}, {"classes", model.spec.classes}})
              << std::endl;
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("import", "Makes a model file of a checkpoint from elsewhere");
  visit_flags(*options, AddFlags(*command));
  command->callback([options] { run(*options); });
}

}  // namespace retort
