// Flags that several commands share, and what they turn into.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/transform.h"
#include "models/registry.h"
#include "tools/cli/flags.h"
#include "tools/run/class_map.h"

namespace retort {

/// The words of --device; auto is a CUDA device if there is one, else the CPU.
inline constexpr Word<std::optional<Device>> kDevices[] = {
    {std::nullopt, "auto"}, {Device::cpu, "cpu"}, {Device::cuda, "cuda"}, {Device::simt, "simt"}};
inline constexpr Word<Split> kSplits[] = {{Split::train, "train"}, {Split::val, "val"}, {Split::test, "test"}};
inline constexpr std::int64_t kMaxThreads = 1024;

/// The flags of every command.
struct CommonOptions {
  std::optional<Device> device;
  std::optional<int> threads;  ///< none: all cores that the process may use
  std::uint64_t seed = 0;
  bool no_winograd = false;
  bool json = false;
  bool quiet = false;
};

template <class Visitor>
void visit_flags(CommonOptions& o, Visitor&& flag) {
  const FlagSubject subject(flag, "Machine and output", "--threads 4 --json");
  flag("--device", o.device, "{}", one_of(kDevices), no_bits("a run may go on elsewhere, in that device's rounding"));
  flag("--threads", o.threads, "CPU threads (default: all cores)", whole_number(1, kMaxThreads),
       no_bits("a run may go on with others, in their order of sums"));
  flag("--seed", o.seed, "Of everything drawn at random", whole_number(0), bits());
  flag("--no-winograd", o.no_winograd,
       "Sum the CPU's 3 x 3, 1 x 7 ... convolutions directly: slower, a little less rounding", anything(),
       bits_unless(!o.no_winograd));
  flag("--json", o.json, "Print one JSON object on stdout", anything(), no_bits("what is printed"));
  flag("--quiet", o.quiet, "No progress, no remarks", anything(), no_bits("what is printed"));
}

/// Where --device says to compute; auto is a CUDA device if there is one. Throws UsageError for a device that this
/// build or machine does not have.
Device compute_device(const CommonOptions& options);
/// Sets the threads; throws as compute_device does.
void apply_common_options(const CommonOptions& options);
/// The same for a command that several processes share: joins them, lets all but rank 0 be quiet, and returns whether
/// this is rank 0, which alone writes. Throws what join_devices throws.
bool begin_shared(CommonOptions& options);

/// The images of a command.
struct DataOptions {
  std::string path;
  std::optional<Split> split;  ///< none: the command's own default
  double val_split = 0.1;
  std::vector<std::string> classes;
  std::optional<std::int64_t> limit;
  bool skip_bad = false;
  std::string cache;
  std::optional<std::int64_t> image_size;  ///< none: the network's own
  std::vector<double> mean, std;
};

inline constexpr const char* kSplitHelp = "{}";

/// In what the data flags of the commands differ.
struct DataFlags {
  const char* data = "Folder of classes, flat folder, MNIST or CIFAR files";
  bool required = true;
  const char* split = nullptr;  ///< the help of --split; null where a command uses both parts
};

template <class Visitor>
void visit_flags(DataOptions& o, Visitor&& flag, const DataFlags& command = {}) {
  const FlagSubject subject(flag, "Data", "--data photos --val-split 0.2 --classes cat,dog");
  flag("--data", o.path, command.data, required(anything(), command.required), bits_in("samples"));
  if (command.split) flag("--split", o.split, command.split, one_of(kSplits), no_bits("training uses both parts"));
  flag("--val-split", o.val_split, "Share kept for validation where the data has no such part", number_in("[0, 1)"),
       bits_in("samples"));
  flag("--classes", o.classes, "Use these classes only, in this order", anything(), bits_in("classes"));
  flag("--limit", o.limit, "At most so many images, spread over the classes", whole_number(1), bits_in("samples"));
  flag("--skip-bad", o.skip_bad, "List and leave out files that can't be decoded", anything(), bits_in("samples"));
  flag("--cache", o.cache, "File for the decoded images: made once, then read in their place", anything(),
       no_bits("the same pixels"));
  flag("--image-size", o.image_size, "Width and height (default: the network's own)", whole_number(1, kMaxImageSize),
       bits_in("--image-size"));
  flag("--mean", o.mean, "Of pixels in 0..1, one for each channel", finite_number(), bits());
  flag("--std", o.std, "Of pixels in 0..1, one for each channel", number_above(0), bits());
}

/// Opens one part, or with `whole` all together, and says, once a folder, what was taken for what and what was passed
/// over. Files that --skip-bad left out are listed on stderr. Throws Interrupted if the user asks to stop while --cache
/// is made.
std::unique_ptr<Dataset> open_data(const DataOptions& options, const CommonOptions& common, Split split,
                                   bool allow_unlabelled, bool whole = false);
/// How the folder becomes a set, without opening it.
DataReading read_data(const DataOptions& options, bool allow_unlabelled);
/// The reading of a set, the samples used of it, and what was passed over, for --json's "data"; null for a set that
/// open_data did not open.
nlohmann::ordered_json data_json(const std::shared_ptr<const DataReading>& reading, std::int64_t used);
inline nlohmann::ordered_json data_json(const Dataset& dataset) { return data_json(dataset.reading(), dataset.size()); }
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
/// `classes`: see set_classes.
Model open_model(const std::string& model, const std::string& weights, const DataOptions& data, const Dataset* dataset,
                 const CommonOptions& common, const ClassMapOptions& classes = {});

/// The class count of a checkpoint of any architecture: rows of the last linear layer's weight, auxiliary heads aside.
/// Throws Error naming the file if it has no linear layer.
std::int64_t head_classes(const TensorFile& file, const std::string& path);
/// "0" .. "count-1", where nothing names the classes.
std::vector<std::string> numbered_classes(std::int64_t count);

/// Comma-separated text as a list.
std::vector<std::string> split_commas(const std::string& text);

}  // namespace retort
