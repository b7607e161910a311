// Flags that several commands share, and what they turn into.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/transform.h"
#include "models/registry.h"

namespace retort {

/// Makes a flag a list: one value each time it is given, or several with commas; not the arguments that follow.
CLI::Option* as_list(CLI::Option* option);
/// For option->check(): a whole number from `low` to `high`, said in those words.
CLI::Validator whole_number(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max());

/// --device, --threads, --seed, --no-winograd, --json, --quiet, --config, --version.
struct CommonOptions {
  std::string device = "auto";
  int threads = 0;  ///< 0: all cores that the process may use
  std::uint64_t seed = 0;
  bool no_winograd = false;
  bool json = false;
  bool quiet = false;
};

/// Adds the flags to a command.
void add_common_options(CLI::App& command, CommonOptions& options);
/// Where --device says to compute; auto is a CUDA device if there is one. Throws UsageError for a device that this
/// build or machine does not have.
Device compute_device(const CommonOptions& options);
/// Sets the threads; throws as compute_device does.
void apply_common_options(const CommonOptions& options);

/// --data, --split, --val-split, --classes, --limit, --skip-bad, --cache, --image-size, --mean, --std.
struct DataOptions {
  std::string path;
  std::string split;  ///< "train", "val" or empty (the command's own default)
  double val_split = 0.1;
  std::vector<std::string> classes;
  std::int64_t limit = 0;
  bool skip_bad = false;
  std::string cache;
  std::int64_t image_size = 0;  ///< 0: the network's own
  std::vector<double> mean, std;
};

/// `with_split`: false for train and distill, which use both parts.
void add_data_options(CLI::App& command, DataOptions& options, bool with_split);
/// The part that --split names, or `fallback` without one. Throws UsageError for another word.
Split chosen_split(const DataOptions& options, Split fallback);
/// Opens one part, or with `whole` both together. Files that --skip-bad left out are listed on stderr. Throws
/// Interrupted if the user asks to stop while --cache is made.
std::unique_ptr<Dataset> open_data(const DataOptions& options, const CommonOptions& common, Split split,
                                   bool allow_unlabelled, bool whole = false);
/// The preprocessing of a network on this data: --image-size, --mean, --std over `base` (a file's own or the default).
/// Throws UsageError when mean or std has another length than the channels, or a std is not positive.
Preprocessing preprocessing_for(const DataOptions& options, Preprocessing base);

/// What an architecture takes when it starts from `weights` (may be empty): a file that says its own input wins over
/// the architecture's default, and the flags over both.
Preprocessing preprocessing_of(const std::string& architecture, const std::string& weights, const DataOptions& options,
                               const Dataset* dataset);

/// --model FILE, or --model ARCH with --weights FILE: a model for evaluation. `dataset` may be null; it gives an ARCH
/// its classes, size and channels; without it the classes are as many as the file's head has. Lines that loading has to
/// say go to stderr unless quiet. Throws UsageError for a lone ARCH, or --weights beside a FILE; Error when a labelled
/// dataset has other classes than the model.
Model open_model(const std::string& model, const std::string& weights, const DataOptions& data, const Dataset* dataset,
                 const CommonOptions& common);

/// The class count of a checkpoint of any architecture: rows of the last linear layer's weight, auxiliary heads aside.
/// Throws Error naming the file if it has no linear layer.
std::int64_t head_classes(const TensorFile& file, const std::string& path);
/// "0" .. "count-1", where nothing names the classes.
std::vector<std::string> numbered_classes(std::int64_t count);

/// Comma-separated text as a list.
std::vector<std::string> split_commas(const std::string& text);

}  // namespace retort
