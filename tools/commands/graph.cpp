// retort graph: a network as a picture, before and after the head that it is distilled by is put on it.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/report/network_graph.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/stock_model.h"

namespace retort {
namespace {

struct Options {
  CommonOptions common;
  std::string model, out;
  std::int64_t image_size = 0;
  double temperature = 4, lambda = 0.1;
};

void run(const Options& options) {
  apply_common_options(options.common);
  if (!(options.temperature > 0) || !std::isfinite(options.temperature))
    throw UsageError(text("--temperature: ", options.temperature, " is not allowed; give a number above 0"));
  if (!(options.lambda >= 0 && options.lambda <= 1))
    throw UsageError(text("--lambda: ", options.lambda, " is not allowed; give a number in [0, 1]"));
  if (!options.out.ends_with(".svg")) throw UsageError(text("--out: '", options.out, "' is not a .svg file; name one"));
  check_writable(options.out);
  Model model = stock_or_saved_model(options.model, options.image_size, options.common);
  const Preprocessing& input = model.spec.preprocessing;
  const NetworkOutline outline{model.spec.architecture,
                               text(input.image_size, " x ", input.image_size, " x ", input.channels), layers_of(model),
                               static_cast<std::int64_t>(model.spec.classes.size())};
  write_atomic(options.out, network_graph(outline, options.temperature, options.lambda));
  const std::size_t blocks = blocks_of(outline.layers).size();
  say(options.common.quiet, text("saved ", options.out, ": ", outline.layers.size(), " layers in ", blocks, " blocks"));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{
                     {"graph", options.out}, {"layers", outline.layers.size()}, {"blocks", blocks}})
              << std::endl;
}

}  // namespace

void add_graph_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("graph", "Draws a network, alone and with the head it is distilled by");
  add_common_options(*command, options->common);
  command->add_option("--model", options->model, "Architecture or model file")->required();
  command->add_option("--image-size", options->image_size, "Width and height (default: the model's own)")
      ->check(whole_number(1, kMaxImageSize));
  command->add_option("--temperature", options->temperature, "T > 0")->capture_default_str();
  command->add_option("--lambda", options->lambda, "Weight of the labels, in [0, 1]")->capture_default_str();
  command->add_option("-o,--out", options->out, "Picture to write (.svg)")->required();
  command->callback([options] { run(*options); });
}

}  // namespace retort
