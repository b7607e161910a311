// retort import: a checkpoint from elsewhere becomes a model file, which says of itself what the other commands need.
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "models/checkpoint.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

struct ImportOptions {
  CommonOptions common;
  DataOptions data;
  std::string model, weights, class_names, out;
};

template <class Visitor>
void visit_flags(ImportOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.data = "Images whose classes the checkpoint knows", .required = false});
  flag("--model", o.model, "Architecture, e.g. resnet50 or keras:ResNet50, of weights that do not hold their network",
       anything());
  flag("--weights", o.weights, "Checkpoint (.safetensors, .pth, .onnx, .keras, .h5)", required(anything()));
  flag("--class-names", o.class_names, "Its classes, one a line in the order of its scores", anything());
  flag("-o,--out", o.out, "Model file to write (.safetensors)", required(file_name(".safetensors")));
}

/// The classes of the data, where the file has only numbers of them.
void take_classes(const Dataset* dataset, Model& model) {
  std::vector<std::string>& own = model.spec.classes;
  if (dataset && dataset->labelled() && own == numbered_classes(static_cast<std::int64_t>(own.size())) &&
      dataset->classes().size() == own.size())
    own = dataset->classes();
}

void run_import(const ImportOptions& options) {
  apply_common_options(options.common);
  if (!options.model.empty() && !is_architecture(options.model) && !is_keras_network(options.model))
    throw UsageError(text("--model: ", no_architecture(options.model)));
  check_writable(options.out);
  std::unique_ptr<Dataset> dataset;
  if (!options.data.path.empty())
    dataset = open_data(options.data, options.common, Split::train, /*allow_unlabelled=*/true);
  const ClassMapOptions classes{.path = "", .names = options.class_names};
  const bool holds_network = options.model.empty();
  Model model = holds_network
                    ? open_model(options.weights, "", options.data, nullptr, options.common, classes)
                    : open_model(options.model, options.weights, options.data, dataset.get(), options.common, classes);
  take_classes(dataset.get(), model);
  save_model(options.out, *model.network, model.spec);
  say(options.common.quiet,
      text("saved ", options.out, ": ", model.spec.architecture, ", ", model.spec.classes.size(), " classes, images ",
           model.spec.preprocessing.image_size, " x ", model.spec.preprocessing.image_size));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"model", options.out}, {"classes", model.spec.classes}})
              << std::endl;
}

}  // namespace

void add_import_command(CLI::App& app) {
  add_command<ImportOptions>(app, "import", "Makes a model file of a checkpoint from elsewhere", run_import);
}

}  // namespace retort
