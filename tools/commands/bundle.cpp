// retort bundle: a program that predicts, with its model inside.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/own_path.h"
#include "kernels/threads.h"
#include "models/bundle.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/seen_pictures.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr Word<WeightType> kWeightTypes[] = {{WeightType::f32, "f32"}, {WeightType::f16, "f16"}};

struct BundleOptions {
  CommonOptions common;
  DataOptions data;
  std::string model, out;
  WeightType dtype = WeightType::f32;
};

template <class Visitor>
void visit_flags(BundleOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag,
              {.data = "Labelled pictures, on which --dtype f16 is compared with f32",
               .required = false,
               .split = "{} (default: test, else val, else all of them)"});
  flag("--model", o.model, "Model file", required(anything()));
  flag("--dtype", o.dtype, "Of the filters and matrices in the file: {}", one_of(kWeightTypes));
  flag("-o,--out", o.out, "Program to write", required(anything()));
}

/// The program that a bundle begins with: beside this one.
std::string classifier() {
  const fs::path beside = fs::path(own_path()).parent_path() / "retort-classify";
  std::error_code none;
  check(fs::is_regular_file(beside, none), beside.string(),
        ": not there, and a bundle begins with it; build it with `cmake --build build --target retort-classify`, which "
        "needs libz.a and libwebp.a");
  return beside.string();
}

/// A bundle may be made anew; nothing else is lost to a mistyped name.
void check_out(const BundleOptions& options) {
  std::error_code none;
  if (fs::equivalent(options.model, options.out, none))
    throw UsageError(text("--out: ", options.out, " is the model itself; name another file"));
  if (fs::is_regular_file(options.out, none) && !find_bundled_model(options.out))
    throw UsageError(text("--out: ", options.out, " is there and is no bundle; name another file or remove it"));
  check_writable(options.out);
}

std::unique_ptr<Dataset> open_part(const DataOptions& data, const CommonOptions& common) {
  if (data.split) return open_data(data, common, *data.split, /*allow_unlabelled=*/false);
  const DataReading reading = read_data(data, /*allow_unlabelled=*/false);
  if (reading.test) return open_data(data, common, Split::test, /*allow_unlabelled=*/false);
  if (!reading.undivided()) return open_data(data, common, Split::val, /*allow_unlabelled=*/false);
  return open_data(data, common, Split::train, /*allow_unlabelled=*/false, /*whole=*/true);
}

double accuracy(const Model& model, const Dataset& dataset, const std::string& label, bool quiet) {
  EvaluateOptions settings;
  settings.workers = std::min(4, num_threads());
  Progress bar(label, dataset.size(), quiet);
  settings.progress = [&](std::int64_t done) {
    if (interrupted()) throw Interrupted{};
    bar.update(done);
  };
  return evaluate(*model.network, dataset, model.spec.preprocessing,
                  static_cast<std::int64_t>(model.spec.classes.size()), settings)
      .accuracy;
}

/// The model as a bundle will read it.
Model as_f16(const TensorFile& file, const std::string& path, Device device) {
  Model model = make_model(rounded_to_f16(file, path), path);
  to_device(*model.network, device);
  return model;
}

/// What f16 costs, in the words of metadata.
struct Loss {
  double f32 = 0, f16 = 0;
  std::int64_t pictures = 0;
};

Loss measure(const BundleOptions& options, const Model& model, const TensorFile& file, const Dataset& dataset) {
  Loss loss;
  loss.pictures = dataset.size();
  loss.f32 = accuracy(model, dataset, "f32", options.common.quiet);
  loss.f16 =
      accuracy(as_f16(file, options.model, compute_device(options.common)), dataset, "f16", options.common.quiet);
  return loss;
}

void run_bundle(const BundleOptions& options) {
  apply_common_options(options.common);
  if (!options.data.path.empty() && options.dtype == WeightType::f32)
    throw UsageError("--data: f32 loses nothing that could be measured; add --dtype f16 or leave it out");
  const std::string program = classifier();
  check_out(options);
  const std::unique_ptr<Dataset> dataset =
      options.data.path.empty() ? nullptr : open_part(options.data, options.common);
  Model model = open_model(options.model, "", options.data, dataset.get(), options.common);
  for (const char* note : {kSeenNote, "temperature"}) model.spec.notes.erase(note);  // of the training alone
  model.spec.notes["model_hash"] = model.hash();
  catch_interrupts();
  to_device(*model.network, Device::cpu);
  TensorFile file = to_file(*model.network, model.spec);
  to_device(*model.network, compute_device(options.common));
  nlohmann::ordered_json json = {{"out", options.out}, {"dtype", options.dtype == WeightType::f16 ? "f16" : "f32"}};
  std::string lost;
  if (dataset) {
    const Loss loss = measure(options, model, file, *dataset);
    file.metadata["f32_accuracy"] = exact(loss.f32);
    file.metadata["f16_accuracy"] = exact(loss.f16);
    file.metadata["accuracy_pictures"] = std::to_string(loss.pictures);
    json["f32_accuracy"] = loss.f32;
    json["f16_accuracy"] = loss.f16;
    json["pictures"] = loss.pictures;
    char words[120];
    std::snprintf(words, sizeof words, "f16: accuracy %.2f%%, f32: %.2f%%, lost %.2f points, on %lld pictures",
                  100 * loss.f16, 100 * loss.f32, 100 * (loss.f32 - loss.f16), static_cast<long long>(loss.pictures));
    lost = words;
  }
  write_bundle(options.out, program, file, options.dtype);
  const std::uintmax_t bytes = fs::file_size(options.out), code = fs::file_size(program);
  if (!lost.empty()) say(options.common.quiet, lost);
  say(options.common.quiet, text("saved ", options.out, ": ", bytes, " bytes, ", code, " of them the program"));
  json["bytes"] = bytes;
  json["program_bytes"] = code;
  if (options.common.json) std::cout << json_text(json) << std::endl;
}

}  // namespace

void add_bundle_command(CLI::App& app) {
  add_command<BundleOptions>(app, "bundle", "Writes one file that predicts: a program with the model inside",
                             run_bundle);
}

}  // namespace retort
