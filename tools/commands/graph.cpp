// retort graph: a network as a picture, before and after the head that it is distilled by is put on it.
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

struct GraphOptions {
  CommonOptions common;
  std::string model, out;
  std::optional<std::int64_t> image_size;
  double temperature = 4, lambda = 0.1;
};

template <class Visitor>
void visit_flags(GraphOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Architecture or model file", required(anything()));
  flag("--image-size", o.image_size, "Width and height (default: the model's own)", whole_number(1, kMaxImageSize));
  flag("--temperature", o.temperature, "T > 0", number_above(0));
  flag("--lambda", o.lambda, "Weight of the labels, in [0, 1]", number_in("[0, 1]"));
  flag("-o,--out", o.out, "Picture to write (.svg)", required(file_name(".svg")));
}

void run_graph(const GraphOptions& options) {
  apply_common_options(options.common);
  check_writable(options.out);
  Model model = stock_or_saved_model(options.model, options.image_size.value_or(0), options.common);
  const NetworkOutline outline = outline_of(model);
  write_atomic(options.out, network_graph(outline, options.temperature, options.lambda));
  const std::size_t blocks = blocks_of(outline.layers).size();
  const Branches branches = branches_of(outline.nodes);
  const std::vector<std::string> head = head_lines(outline.classes, options.temperature, options.lambda);
  say(options.common.quiet, text("saved ", options.out, ": ", outline.layers.size(), " layers in ", blocks, " blocks, ",
                                 branches.forks, " forks and ", branches.joins, " joins"));
  say(options.common.quiet, "before: softmax(z), probabilities at T = 1");
  for (std::size_t i = 0; i < head.size(); ++i) say(options.common.quiet, (i == 0 ? "after:  " : "        ") + head[i]);
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"graph", options.out},
                                                  {"layers", outline.layers.size()},
                                                  {"blocks", blocks},
                                                  {"forks", branches.forks},
                                                  {"joins", branches.joins},
                                                  {"after", head}})
              << std::endl;
}

}  // namespace

void add_graph_command(CLI::App& app) {
  add_command<GraphOptions>(app, "graph", "Draws a network, alone and with the head it is distilled by", run_graph);
}

}  // namespace retort
