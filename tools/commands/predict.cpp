// retort predict: the most probable classes of images, at T = 1.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/data/folder_listing.h"
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
  std::string csv;
  bool wrong_only = false;
};

template <class Visitor>
void visit_flags(Options& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.required = false, .split = "{} (default: both together)"});
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  visit_flags(o.map, flag);
  flag("IMAGE", o.images, "Image files, or folders of them; - for a picture on standard input", anything());
  flag("--top", o.top, "Classes to name for each image", whole_number(1));
  flag("--csv", o.csv, "Table to write: name, true class where known, prediction, every class's probability",
       file_name(".csv"));
  flag("--wrong-only", o.wrong_only, "Only images of which the label says otherwise; --data with class folders",
       anything());
}

struct Candidate {
  std::int64_t label;
  double probability;
};

constexpr const char* kStandardInput = "-";

/// The files named on the command line, as an unlabelled set; - is standard input, read once.
class FileList : public Dataset {
 public:
  FileList(std::vector<std::string> files, bool skip_bad) {
    for (std::string& file : files) {
      if (file == kStandardInput) read_standard_input();
      if (skip_bad) {
        try {
          decode_image(bytes_of(file), file);
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
  Image load(std::int64_t index) const override { return decode_image(bytes_of(files_[index]), files_[index]); }
  std::string content_hash(std::int64_t index) const override { return retort::content_hash(bytes_of(files_[index])); }

 private:
  void read_standard_input() {
    if (!input_.empty()) throw UsageError("IMAGE: - stands twice, and there is one picture on standard input");
    input_.assign(std::istreambuf_iterator<char>(std::cin), {});
    check(!input_.empty(), "-: nothing on standard input; pipe a picture into it");
  }
  std::vector<std::uint8_t> bytes_of(const std::string& file) const {
    return file == kStandardInput ? input_ : read_file(file);
  }

  std::vector<std::string> files_;
  std::vector<std::uint8_t> input_;
};

/// Files as they are; folders as the images within, at any depth, sorted.
std::vector<std::string> expand(const std::vector<std::string>& paths, bool quiet) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    check(path == kStandardInput || fs::exists(path), path, ": no such file; check the path");
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    const FolderListing listing = list_folder(path);
    for (const std::string& name : listing.flat) inside.push_back((fs::path(path) / name).generic_string());
    for (const auto& [folder, names] : listing.classes)
      for (const std::string& name : names) inside.push_back((fs::path(path) / name).generic_string());
    PassedOver passed;
    for (const auto& [key, files] : listing.passed.files())
      if (key.first != Unused::loose) passed.add_all(key.first, key.second, files);
    check(!inside.empty(), path, ": holds no images; give a folder of ", picture_kinds(), " files",
          passed.empty() ? "" : "; passed over: " + passed.sentence());
    if (!passed.empty()) say(quiet, text(path, ": passed over: ", passed.sentence()));
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
  if (options.data.path.empty())
    return std::make_unique<FileList>(expand(options.images, options.common.quiet), options.data.skip_bad);
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
  loading.cache_bytes = 0;  // one pass
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

/// A set whose labels are another model's matter.
class Unlabelled : public Dataset {
 public:
  explicit Unlabelled(const Dataset& source) : source_(source) { reading_ = source.reading(); }
  std::int64_t size() const override { return source_.size(); }
  const std::string& name(std::int64_t index) const override { return source_.name(index); }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t index) const override { return source_.load(index); }
  std::string content_hash(std::int64_t index) const override { return source_.content_hash(index); }

 private:
  const Dataset& source_;
};

/// Whether the most probable class is another than the label.
bool wrong(const Dataset& dataset, std::int64_t index, const std::vector<Candidate>& candidates) {
  return dataset.labelled(index) && candidates.front().label != dataset.label(index);
}

/// A field of RFC 4180.
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

std::string csv(const Dataset& dataset, const std::vector<std::string>& classes,
                const std::vector<std::vector<Candidate>>& predictions, const std::vector<std::int64_t>& shown) {
  std::string lines = dataset.labelled() ? "name,true,prediction" : "name,prediction";
  for (const std::string& name : classes) lines += "," + field(name);
  lines += "\n";
  for (const std::int64_t i : shown) {
    lines += field(dataset.name(i));
    if (dataset.labelled()) lines += "," + (dataset.labelled(i) ? field(classes[dataset.label(i)]) : "");
    lines += "," + field(classes[predictions[i].front().label]);
    std::vector<double> probabilities(classes.size());
    for (const Candidate& candidate : predictions[i]) probabilities[candidate.label] = candidate.probability;
    for (const double probability : probabilities) {
      char digits[24];
      std::snprintf(digits, sizeof digits, ",%.6g", probability);
      lines += digits;
    }
    lines += "\n";
  }
  return lines;
}

nlohmann::ordered_json as_json(const Dataset& dataset, const std::vector<std::string>& classes,
                               const std::vector<std::vector<Candidate>>& predictions,
                               const std::vector<std::int64_t>& shown, std::int64_t top) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::int64_t i : shown) {
    nlohmann::ordered_json candidates = nlohmann::ordered_json::array();
    for (std::int64_t k = 0; k < top; ++k)
      candidates.push_back(
          {{"class", classes[predictions[i][k].label]}, {"probability", predictions[i][k].probability}});
    nlohmann::ordered_json entry = {{"file", dataset.name(i)}, {"top", candidates}};
    if (dataset.labelled(i)) entry["true"] = classes[dataset.label(i)];
    list.push_back(std::move(entry));
  }
  nlohmann::ordered_json json = {{"predictions", list}};
  if (nlohmann::ordered_json data = data_json(dataset); !data.is_null()) json["data"] = std::move(data);
  return json;
}

void print(const Dataset& dataset, const std::vector<std::string>& classes,
           const std::vector<std::vector<Candidate>>& predictions, const std::vector<std::int64_t>& shown,
           std::int64_t top) {
  for (const std::int64_t i : shown) {
    std::cout << dataset.name(i);
    for (std::int64_t k = 0; k < top; ++k) {
      char percent[16];
      std::snprintf(percent, sizeof percent, "%.2f%%", 100 * predictions[i][k].probability);
      std::cout << "  " << classes[predictions[i][k].label] << " " << percent;
    }
    if (wrong(dataset, i, predictions[i])) std::cout << "  (labelled " << classes[dataset.label(i)] << ")";
    std::cout << "\n";
  }
}

void run(const Options& options) {
  apply_common_options(options.common);
  if (!options.csv.empty()) check_writable(options.csv);
  const std::unique_ptr<Dataset> dataset = open_images(options);
  if (options.wrong_only && !dataset->labelled())
    throw UsageError("--wrong-only: these images have no labels; give --data PATH with class folders");
  // The labels mean something where the classes are the model's.
  const Model model = open_model(options.model, options.weights, options.data,
                                 options.wrong_only ? dataset.get() : nullptr, options.common, options.map);
  const std::vector<std::string>& classes = model.spec.classes;
  const bool labels_known = dataset->labelled() && dataset->classes() == classes;
  const auto count = static_cast<std::int64_t>(classes.size());
  const std::int64_t top = std::min(options.top, count);
  catch_interrupts();
  const auto predictions = predict(model, *dataset, options.csv.empty() ? top : count, options.common.quiet);
  const Unlabelled unlabelled(*dataset);
  const Dataset& told = labels_known ? *dataset : static_cast<const Dataset&>(unlabelled);

  std::vector<std::int64_t> shown;
  for (std::int64_t i = 0; i < dataset->size(); ++i)
    if (!options.wrong_only || wrong(told, i, predictions[i])) shown.push_back(i);
  if (!options.csv.empty()) {
    write_atomic(options.csv, csv(told, classes, predictions, shown));
    say(options.common.quiet, text("saved ", shown.size(), " rows in ", options.csv));
  }
  if (options.common.json)
    std::cout << json_text(as_json(told, classes, predictions, shown, top)) << std::endl;
  else
    print(told, classes, predictions, shown, top);
  if (options.wrong_only)
    say(options.common.quiet, text(shown.size(), " of ", dataset->size(), " images are taken for another class"));
}

}  // namespace

void add_predict_command(CLI::App& app) {
  add_command<Options>(app, "predict", "Classes and probabilities of images, at T = 1", run);
}

}  // namespace retort
