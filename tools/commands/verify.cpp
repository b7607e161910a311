// retort verify: reads files as the commands would, to the end, and says of each in one line what it is or what is
// wrong.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "engine/data/pixel_cache.h"
#include "engine/distill/logit_store.h"
#include "engine/distill/training_state.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npy.h"
#include "engine/io/safetensors.h"
#include "models/bundle.h"
#include "models/registry.h"
#include "tools/cli/options.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"
#include "tools/run/log.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

struct VerifyOptions {
  CommonOptions common;
  DataOptions data;
  std::vector<std::string> files;
};

template <class Visitor>
void visit_flags(VerifyOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag,
              {.data = "Images that logit stores must be of", .required = false, .split = "{} (default: train)"});
  flag("FILE", o.files, "Models, bundles, training states, logit stores, caches of decoded images, logs, images",
       required(anything()));
}

struct Finding {
  std::string file;
  bool sound = false;
  std::string words;  ///< what the file is, or what is wrong with it, beginning with its name
};

std::string model_words(const std::string& file) {
  const Model model = load_model(file);
  return text("a model: ", model.spec.architecture, ", ", model.spec.classes.size(), " classes, hash ", model.hash());
}

std::string bundle_words(const std::string& file) {
  const Model model = load_bundle(file);
  return text("a bundle: ", model.spec.architecture, ", ", model.spec.classes.size(), " classes, hash ", model.hash());
}

std::string tensor_words(const std::string& file) {
  const auto metadata = read_safetensors_metadata(file);
  if (metadata.contains("architecture")) return model_words(file);
  const TensorFile content = read_safetensors(file);
  if (!metadata.contains("progress")) return text("tensors without metadata: ", content.tensors.size());
  const StateSummary state = read_state_summary(file);
  return text("a training state: ", state.epoch, " epochs, ", state.step, " steps, ",
              state.finished ? "finished" : "not finished", state.kept ? "" : ", its tensors not kept");
}

std::string store_words(const std::string& file, const Dataset* images) {
  const LogitStore store = read_logit_store(file, {}, [](std::int64_t rows) {
    return std::vector<std::string>(numbered_classes(rows));  // no names are known: numbers in their place
  });
  if (images && !store.hashes.empty()) match_logit_store(store, file, *images);
  return text("logits: ", store.samples(), " images, ", store.views, store.views == 1 ? " view, " : " views, ",
              store.classes.size(), " classes", images && !store.hashes.empty() ? ", of these very images" : "");
}

std::string array_words(const std::string& file, const Dataset* images) {
  const fs::path index = fs::path(file).replace_extension(".json");
  if (fs::exists(index) || is_pickled_npy(file)) return store_words(file, images);
  const Tensor array = read_npy(file);
  return text("an array: ", to_string(array.dtype()), " ", array.shape());
}

std::string log_words(const std::string& file) {
  const std::vector<std::uint8_t> bytes = read_text_file(file);
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  std::int64_t epochs = 0;
  for (std::string line; std::getline(stream, line);) {
    const nlohmann::json json =
        parse_json(line, text(file, ": line ", epochs + 1, " "), "; resume the run, which drops it");
    check(epoch_of(json) == epochs + 1, file, ": line ", epochs + 1, " is not of epoch ", epochs + 1,
          "; resume the run, which writes its epochs again");
    ++epochs;
  }
  return text("a log: ", epochs, " epochs");
}

std::string image_words(const std::string& file) {
  const Image image = decode_image(read_picture(file), file);
  return text("an image: ", image.width, " x ", image.height, " x ", image.channels);
}

std::string words_of(const std::string& file, const Dataset* images) {
  const InputFile input(file);
  constexpr std::string_view kNumpy = "\x93NUMPY";
  std::string start(std::min<std::uint64_t>(16, input.size()), '\0');
  input.read(0, {reinterpret_cast<std::uint8_t*>(start.data()), start.size()});
  if (file.ends_with(".safetensors")) return tensor_words(file);
  if (start.starts_with(kNumpy)) return array_words(file, images);
  if (file.ends_with(".jsonl")) return log_words(file);
  if (file.ends_with(".csv")) return store_words(file, images);
  if (file.ends_with(".json")) return store_words(fs::path(file).replace_extension(".npy").string(), images);
  if (is_program(file)) return bundle_words(file);
  if (is_pixel_cache(file)) return text("a cache of ", cached_images(file), " decoded images");
  return image_words(file);
}

Finding verify(const std::string& file, const Dataset* images) {
  try {
    return {file, true, words_of(file, images)};
  } catch (const Error& error) {
    return {file, false, error.what()};
  }
}

void run_verify(const VerifyOptions& options) {
  apply_common_options(options.common);
  std::unique_ptr<Dataset> images;
  if (!options.data.path.empty())
    images = open_data(options.data, options.common, options.data.split.value_or(Split::train),
                       /*allow_unlabelled=*/true);
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  std::int64_t wrong = 0;
  for (const std::string& file : options.files) {
    const Finding finding = verify(file, images.get());
    wrong += finding.sound ? 0 : 1;
    if (options.common.json)
      files.push_back({{"file", file}, {"ok", finding.sound}, {"detail", finding.words}});
    else
      std::cout << visible_name(finding.sound ? text("ok  ", file, ": ", finding.words) : "bad " + finding.words)
                << '\n';
  }
  if (options.common.json) std::cout << json_text(nlohmann::ordered_json{{"files", files}}) << '\n';
  std::cout << std::flush;
  check(wrong == 0, "FILE: ", wrong, " of ", options.files.size(), " are not as they should be; see above");
}

}  // namespace

void add_verify_command(CLI::App& app) {
  add_command<VerifyOptions>(app, "verify", "Reads files to the end and says what is wrong with them", run_verify);
}

}  // namespace retort
