// retort predict: the most probable classes of images, at T = 1.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/data/loader.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/ops/softmax.h"
#include "kernels/threads.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  DataOptions data;
  ClassMapOptions map;
  std::string model, weights;
  std::vector<std::string> images;
  std::int64_t top = 5;
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.required = false, .split = "{} (default: both together)"});
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  visit_flags(o.map, flag);
  flag("IMAGE", o.images, "Image files, or folders of them", anything());
  flag("--top", o.top, "Classes to name for each image", whole_number(1));
}

struct Candidate {
  std::int64_t label;
  double probability;
};

/// The files named on the command line, as an unlabelled set.
class FileList : public Dataset {
 public:
  FileList(std::vector<std::string> files, bool skip_bad) {
    for (std::string& file : files) {
      if (skip_bad) {
        try {
          decode_image(read_file(file), file);
        } catch (const Error& error) {
          say(false, text("skipped: ", error.what()));
          continue;
        }
      }
      files_.push_back(std::move(file));
    }
    check(!files_.empty(), "IMAGE: --skip-bad left no image; check the files");
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  const std::string& name(std::int64_t index) const override { return files_[index]; }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t index) const override { return decode_image(read_file(files_[index]), files_[index]); }
  std::string content_hash(std::int64_t index) const override { return retort::content_hash(read_file(files_[index])); }

 private:
  std::vector<std::string> files_;
};

bool is_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  const auto known = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif"};
  return std::find(known.begin(), known.end(), extension) != known.end();
}

/// Files as they are; folders as the images within, at any depth, sorted.
std::vector<std::string> expand(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    check(fs::exists(path), path, ": no such file; check the path");
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && is_image_name(entry.path())) inside.push_back(entry.path().generic_string());
    check(!inside.empty(), path, ": holds no images; give a folder of jpg, png, bmp, ppm, pgm or gif files");
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

std::unique_ptr<Dataset> open_images(const Options& options) {
  if (options.images.empty() == options.data.path.empty())
    throw UsageError("IMAGE: give image files or folders, or --data PATH, one of the two");
  if (options.data.path.empty() && !options.data.cache.empty())
    throw UsageError("--cache: goes with --data; leave it out for single files");
  if (options.data.path.empty()) return std::make_unique<FileList>(expand(options.images), options.data.skip_bad);
  return open_data(options.data, options.common, options.data.split.value_or(Split::train), /*allow_unlabelled=*/true,
                   /*whole=*/!options.data.split);
}

/// The `top` most probable classes; of equals the lower class first.
std::vector<Candidate> best(const float* probabilities, std::int64_t classes, std::int64_t top) {
  std::vector<std::int64_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + top, order.end(), [&](std::int64_t a, std::int64_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  std::vector<Candidate> candidates;
  for (std::int64_t i = 0; i < top; ++i) candidates.push_back({order[i], probabilities[order[i]]});
  return candidates;
}

std::vector<std::vector<Candidate>> predict(const Model& model, const Dataset& dataset, std::int64_t top, bool quiet) {
  const NoGrad no_grad;
  const std::int64_t classes = static_cast<std::int64_t>(model.spec.classes.size());
  LoaderOptions loading;
  loading.preprocessings = {model.spec.preprocessing};
  loading.workers = std::min(4, num_threads());
  Loader loader(dataset, loading);
  loader.start(0, 0);
  std::vector<std::vector<Candidate>> predictions(dataset.size());
  Progress bar("predict", dataset.size(), quiet);
  std::int64_t done = 0;
  for (Batch batch; loader.next(batch);) {
    if (interrupted()) throw Interrupted{};
    const Tensor probabilities = softmax(infer(*model.network, batch.inputs[0])).to(Device::cpu);
    for (std::size_t row = 0; row < batch.indices.size(); ++row) {
      const float* p = probabilities.data<float>() + static_cast<std::int64_t>(row) * classes;
      check(std::none_of(p, p + classes, [](float value) { return value != value; }), dataset.name(batch.indices[row]),
            ": the model's output is not a number; its weights are broken, train it again");
      predictions[batch.indices[row]] = best(p, classes, top);
    }
    bar.update(done += static_cast<std::int64_t>(batch.indices.size()));
  }
  return predictions;
}

void run(const Options& options) {
  apply_common_options(options.common);
  const std::unique_ptr<Dataset> dataset = open_images(options);
  const Model model = open_model(options.model, options.weights, options.data, nullptr, options.common, options.map);
  const std::vector<std::string>& classes = model.spec.classes;
  const std::int64_t top = std::min(options.top, static_cast<std::int64_t>(classes.size()));
  catch_interrupts();
  const auto predictions = predict(model, *dataset, top, options.common.quiet);

  if (options.common.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      nlohmann::ordered_json candidates = nlohmann::ordered_json::array();
      for (const Candidate& candidate : predictions[i])
        candidates.push_back({{"class", classes[candidate.label]}, {"probability", candidate.probability}});
      list.push_back({{"file", dataset->name(i)}, {"top", candidates}});
    }
    std::cout << json_text(nlohmann::ordered_json{{"predictions", list}}) << std::endl;
    return;
  }
  for (std::int64_t i = 0; i < dataset->size(); ++i) {
    std::cout << dataset->name(i);
    for (const Candidate& candidate : predictions[i]) {
      char percent[16];
      std::snprintf(percent, sizeof percent, "%.2f%%", 100 * candidate.probability);
      std::cout << "  " << classes[candidate.label] << " " << percent;
    }
    std::cout << "\n";
  }
}

}  // namespace

void add_predict_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("predict", "Classes and probabilities of images, at T = 1");
  visit_flags(*options, AddFlags(*command));
  command->callback([options] { run(*options); });
}

}  // namespace retort
