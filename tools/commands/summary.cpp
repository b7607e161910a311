// retort summary: layers, output shapes, parameters and multiply-adds of a network.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/json.h"
#include "engine/report/network_graph.h"
#include "tools/cli/options.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"
#include "tools/run/seen_pictures.h"
#include "tools/run/stock_model.h"

namespace retort {
namespace {

struct SummaryOptions {
  CommonOptions common;
  std::string model;
  std::optional<std::int64_t> image_size;
};

template <class Visitor>
void visit_flags(SummaryOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Architecture or model file", required(anything()));
  flag("--image-size", o.image_size, "Width and height (default: the model's own)", whole_number(1, kMaxImageSize));
}

/// The shape of one sample, channels first: "64x112x112", "1000".
std::string sample_shape(const Shape& output) {
  if (output.rank() == 4) return text(output[3], "x", output[1], "x", output[2]);
  return text(output[-1]);
}

std::vector<std::string> words(const std::vector<double>& values) {
  std::vector<std::string> list;
  for (const double value : values) list.push_back(plain(value));
  return list;
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value);
  for (std::int64_t i = static_cast<std::int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(i, ",");
  return digits;
}

void print_table(std::vector<LayerReport> layers, const nlohmann::ordered_json& totals) {
  std::size_t name = 5, kind = 4;
  for (LayerReport& layer : layers) {
    layer.name = visible_name(layer.name);
    name = std::max(name, layer.name.size());
    kind = std::max(kind, layer.kind.size());
  }
  const auto row = [&](const std::string& a, const std::string& b, const std::string& c, const std::string& d,
                       const std::string& e) {
    std::printf("%-*s  %-*s  %14s  %15s  %18s\n", static_cast<int>(name), a.c_str(), static_cast<int>(kind), b.c_str(),
                c.c_str(), d.c_str(), e.c_str());
  };
  row("layer", "kind", "output", "parameters", "multiply-adds");
  for (const LayerReport& layer : layers)
    row(layer.name, layer.kind, sample_shape(layer.output), with_commas(layer.parameters), with_commas(layer.macs));
  row("total", "", "", with_commas(totals["parameters"]), with_commas(totals["macs"]));
  std::fflush(stdout);
}

/// Where branches meet: the op, and whose results it reads.
struct Join {
  std::string name;
  std::vector<std::string> inputs;
};

std::vector<Join> joins_of(const std::vector<OutlineNode>& nodes) {
  std::vector<Join> joins;
  for (const OutlineNode& node : nodes) {
    if (node.inputs.size() < 2) continue;
    joins.push_back({node.name, {}});
    for (const std::ptrdiff_t input : node.inputs)
      joins.back().inputs.push_back(input < 0 ? "image" : nodes[static_cast<std::size_t>(input)].name);
  }
  return joins;
}

/// What a model's file says of itself.
void print_spec(const ModelSpec& spec) {
  constexpr std::size_t kShownClasses = 20;
  const auto row = [](const std::string& name, const std::string& value) {
    std::printf("%-14s  %s\n", visible_name(name).c_str(), visible_name(value).c_str());
  };
  row("architecture", spec.architecture);
  std::string classes = text(spec.classes.size(), ":");
  for (std::size_t i = 0; i < std::min(kShownClasses, spec.classes.size()); ++i)
    classes += (i > 0 ? ", " : " ") + spec.classes[i];
  row("classes", spec.classes.size() > kShownClasses ? classes + ", ..." : classes);
  const Preprocessing& input = spec.preprocessing;
  row("input", text(input.image_size, " x ", input.image_size, " x ", input.channels, ", mean ",
                    joined(words(input.mean)), ", std ", joined(words(input.std))));
  for (const auto& [key, value] : spec.notes)
    if (key != kSeenNote) row(key == "teacher" ? "teacher's hash" : key, value);
  std::printf("\n");
}

void run_summary(const SummaryOptions& options) {
  apply_common_options(options.common);
  Model model = stock_or_saved_model(options.model, options.image_size.value_or(0), options.common);
  const Preprocessing& input = model.spec.preprocessing;
  std::int64_t parameter_count = 0, macs = 0;
  for (const Parameter* parameter : parameters(*model.network))
    if (!parameter->buffer) parameter_count += parameter->value.count();
  const NetworkOutline outline = outline_of(model);
  const std::vector<LayerReport>& layers = outline.layers;
  const std::vector<Join> joins = joins_of(outline.nodes);
  for (const LayerReport& layer : layers) macs += layer.macs;

  nlohmann::ordered_json json = {{"model", options.model},
                                 {"architecture", model.spec.architecture},
                                 {"image_size", input.image_size},
                                 {"channels", input.channels},
                                 {"classes", model.spec.classes.size()},
                                 {"parameters", parameter_count},
                                 {"trainable_parameters", parameter_count},
                                 {"macs", macs},
                                 {"layers", nlohmann::ordered_json::array()}};
  const bool saved = !is_architecture(options.model);
  if (saved) {
    json["class_names"] = model.spec.classes;
    json["notes"] = nlohmann::ordered_json::object();
    for (const auto& [key, value] : model.spec.notes)
      if (key != kSeenNote) json["notes"][key] = value;
  }
  if (!options.common.json) {
    if (saved) print_spec(model.spec);
    print_table(layers, json);
    if (!joins.empty()) std::printf("\nwhere branches meet\n");
    for (const Join& join : joins) {
      std::string inputs;
      for (const std::string& input : join.inputs) inputs += (inputs.empty() ? "" : ", ") + input;
      std::printf("%s  <-  %s\n", visible_name(join.name).c_str(), visible_name(inputs).c_str());
    }
    std::fflush(stdout);
    return;
  }
  for (const LayerReport& layer : layers)
    json["layers"].push_back({{"name", layer.name},
                              {"kind", layer.kind},
                              {"output", sample_shape(layer.output)},
                              {"parameters", layer.parameters},
                              {"macs", layer.macs}});
  json["joins"] = nlohmann::ordered_json::array();
  for (const Join& join : joins) json["joins"].push_back({{"name", join.name}, {"inputs", join.inputs}});
  std::cout << json_text(json) << std::endl;
}

}  // namespace

void add_summary_command(CLI::App& app) {
  add_command<SummaryOptions>(app, "summary", "Layers, output shapes, parameters, multiply-adds", run_summary);
}

}  // namespace retort
