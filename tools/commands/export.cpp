// retort export: a model in the form that something else reads.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/layout.h"
#include "engine/io/npz.h"
#include "models/graph/c_export.h"
#include "models/graph/int8_layers.h"
#include "models/graph/onnx_export.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/seen_pictures.h"

namespace retort {
namespace {

enum class Format : std::uint8_t { onnx, npz, c };
constexpr Word<std::optional<Format>> kFormats[] = {{Format::onnx, "onnx"}, {Format::npz, "npz"}, {Format::c, "c"}};

struct ExportOptions {
  CommonOptions common;
  std::string model, out;
  std::optional<Format> format;
  bool fold_batch_norm = false, pixels = false;
};

template <class Visitor>
void visit_flags(ExportOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Model file", required(anything()));
  flag("--format", o.format, "{} (default: as the file to write ends)", one_of(kFormats));
  flag("--fold-batch-norm", o.fold_batch_norm, "Make batch norm part of the layers before it", anything());
  flag("--pixels", o.pixels, "Take pixels of 0 to 255: mean and deviation are inside", anything());
  flag("-o,--out", o.out, "File to write (.onnx, .npz, .c)", required(anything()));
}

Format format_of(const ExportOptions& options) {
  if (options.format) return *options.format;
  const std::string ending = std::filesystem::path(options.out).extension().string();
  for (const auto& row : kFormats)
    if (ending == text(".", row.word)) return *row.value;
  throw UsageError(
      text("--out: ", options.out, " ends like no format; let it end with .onnx, .npz or .c, or give --format"));
}

/// What the file says of itself, in the words of a model file. The temperature of a student's training is none of its
/// own business: its logits are not divided by it.
std::map<std::string, std::string> metadata_of(const Model& model, bool pixels) {
  using Json = nlohmann::json;
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : model.spec.notes)
    if (key != kSeenNote && key != "temperature") metadata[key] = value;
  Preprocessing input = model.spec.preprocessing;
  if (pixels) {
    input.mean.assign(input.mean.size(), 0);
    input.std.assign(input.std.size(), 1.0 / 255);
  }
  metadata["architecture"] = model.spec.architecture;
  metadata["classes"] = json_text(Json(model.spec.classes));
  metadata["image_size"] = std::to_string(input.image_size);
  metadata["channels"] = std::to_string(input.channels);
  metadata["mean"] = Json(input.mean).dump();
  metadata["std"] = Json(input.std).dump();
  metadata["model_hash"] = model.hash();
  return metadata;
}

/// Under the names and in the layouts that a model file has, which are torchvision's.
void write_weights(const std::string& path, Network& network) {
  to_device(network, Device::cpu);
  std::vector<std::pair<std::string, Tensor>> arrays;
  for (const Parameter* parameter : parameters(network))
    arrays.emplace_back(parameter->name, to_file_layout(*parameter, parameter->value));
  write_npz(path, arrays);
}

std::string describe_c(const Model& model, bool pixels) {
  const Preprocessing& input = model.spec.preprocessing;
  const std::string values =
      pixels ? "pixels from 0 to 255"
             : text("(pixel / 255 - mean) / std, mean ", flag_text(input.mean), ", std ", flag_text(input.std));
  return text(model.spec.architecture, " of ", model.spec.classes.size(), " classes, written by retort ",
              RETORT_VERSION, " from a model of hash ", model.hash(), ".\n   Its images: ", input.image_size, " x ",
              input.image_size, ", ", values);
}

void check_flags(const ExportOptions& options, Format format) {
  if (format == Format::npz && (options.fold_batch_norm || options.pixels))
    throw UsageError(text(options.pixels ? "--pixels" : "--fold-batch-norm",
                          ": a .npz holds the weights as they are; leave it out"));
  if (format == Format::c && options.fold_batch_norm)
    throw UsageError("--fold-batch-norm: a C file always has it folded; leave it out");
}

void run_export(const ExportOptions& options) {
  apply_common_options(options.common);
  const Format format = format_of(options);
  check_flags(options, format);
  std::error_code none;
  if (std::filesystem::equivalent(options.model, options.out, none))
    throw UsageError(text("--out: ", options.out, " is the model itself; name another file"));
  check_writable(options.out);
  Model model = open_model(options.model, "", {}, nullptr, options.common);
  switch (format) {
    case Format::onnx: {
      PlainGraph graph = plain_graph(model);
      if (options.fold_batch_norm) fold_batch_norm(graph);
      if (options.pixels) normalise_inside(graph, model.spec.preprocessing);
      write_onnx(options.out, graph, {RETORT_VERSION, metadata_of(model, options.pixels)});
      break;
    }
    case Format::npz: write_weights(options.out, *model.network); break;
    case Format::c: {
      PlainGraph graph = plain_graph(model);
      check(!is_int8(graph.spec), options.model,
            ": its layers are 8-bit, and a C file computes in float; give the model that it was made of");
      fold_batch_norm(graph);  // always: one op fewer, and nothing else reads a C file
      if (options.pixels) normalise_inside(graph, model.spec.preprocessing);
      write_c(options.out, graph, {describe_c(model, options.pixels), model.spec.classes});
      break;
    }
  }
  const std::uintmax_t bytes = std::filesystem::file_size(options.out);
  say(options.common.quiet, text("saved ", options.out, ": ", bytes, " bytes"));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"out", options.out}, {"bytes", bytes}}) << std::endl;
}

}  // namespace

void add_export_command(CLI::App& app) {
  add_command<ExportOptions>(app, "export", "Writes a model in a form that other programs read", run_export);
}

}  // namespace retort
