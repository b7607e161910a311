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

void run(const Options& options) {
  apply_common_options(options.common);
  if (!is_architecture(options.model))
    throw UsageError(text("--model: '", options.model, "' is no architecture; give one such as resnet50"));
  if (!options.out.ends_with(".safetensors"))
    throw UsageError(text("--out: '", options.out, "' is not a .safetensors file; name one"));
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
  add_common_options(*command, options->common);
  add_data_options(*command, options->data, /*with_split=*/false);
  command->get_option("--data")->description("Images whose classes the checkpoint knows");
  command->add_option("--model", options->model, "Architecture, e.g. resnet50")->required();
  command->add_option("--weights", options->weights, "Checkpoint (.safetensors)")->required();
  command->add_option("-o,--out", options->out, "Model file to write (.safetensors)")->required();
  command->callback([options] { run(*options); });
}

}  // namespace retort
