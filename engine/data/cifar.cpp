// CIFAR's binary files (cs.toronto.edu/~kriz/cifar.html): records of a label, or for CIFAR-100 a coarse and a fine one,
// and 32 x 32 pixels in three planes, red, green, blue.
#include <algorithm>
#include <filesystem>

#include "engine/core/check.h"
#include "engine/core/repeated.h"
#include "engine/data/formats.h"
#include "engine/io/file.h"
#include "engine/io/folder.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 32, kChannels = 3, kPixelBytes = kSide * kSide * kChannels;

struct Form {
  std::int64_t label_bytes;  ///< the last one counts
  std::int64_t classes;
  const char* names_file;
};
constexpr Form kCifar10{1, 10, "batches.meta.txt"}, kCifar100{2, 100, "fine_label_names.txt"};

const std::vector<std::string> kCifar10Classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                  "dog",      "frog",       "horse", "ship", "truck"};

std::vector<std::string> class_names(const std::string& folder, const Form& form) {
  const std::string path = (fs::path(folder) / form.names_file).string();
  std::vector<std::string> names;
  if (fs::is_regular_file(path)) {
    const std::vector<std::uint8_t> bytes = read_file(path);
    std::istringstream lines(std::string(bytes.begin(), bytes.end()));
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) names.push_back(line);
    }
    check(static_cast<std::int64_t>(names.size()) == form.classes, path, ": holds ", names.size(),
          " class names, expected ", form.classes, ", one a line; correct or remove the file");
    if (const std::string* name = repeated(names))
      throw Error(text(path, ": names the class '", *name, "' twice; correct or remove the file"));
    return names;
  }
  if (form.classes == kCifar10.classes) return kCifar10Classes;
  for (std::int64_t c = 0; c < form.classes; ++c) names.push_back(std::to_string(c));
  return names;
}

void append_records(const std::string& path, const Form& form, PackedSamples& samples) {
  const std::vector<std::uint8_t> bytes = read_file(path);
  const std::int64_t record = form.label_bytes + kPixelBytes, size = static_cast<std::int64_t>(bytes.size());
  check(size > 0 && size % record == 0, path, ": ", size, " bytes are no whole number of records of ", record,
        " bytes; download the file again");
  for (std::int64_t at = 0; at < size; at += record) {
    const std::int64_t label = bytes[at + form.label_bytes - 1];
    check(label < form.classes, path, ": the label of record ", at / record, " is ", label, ", expected 0 to ",
          form.classes - 1, "; download the file again");
    samples.labels.push_back(label);
    const auto pixels = bytes.begin() + at + form.label_bytes;
    samples.pixels.insert(samples.pixels.end(), pixels, pixels + kPixelBytes);
  }
}

SplitOpeners::Open part_of(const std::string& folder, const std::vector<std::string>& files, const Form& form,
                           const std::string& part) {
  if (files.empty()) return {};
  return [=] {
    PackedSamples samples;
    samples.part = part;
    samples.width = samples.height = kSide;
    samples.channels = kChannels;
    samples.planar = true;
    for (const std::string& file : files) append_records(file, form, samples);
    samples.classes = class_names(folder, form);
    return make_packed_dataset(std::move(samples));
  };
}

}  // namespace

std::optional<SplitOpeners> recognise_cifar(const std::string& folder) {
  std::vector<std::string> batches, test_batch, train, test, packed;
  for (const std::string& name : names_in(folder)) {
    const std::string path = (fs::path(folder) / name).string();
    if (!fs::is_regular_file(path)) continue;
    if (name.starts_with("data_batch_") && name.ends_with(".bin")) batches.push_back(path);
    if (name == "test_batch.bin") test_batch.push_back(path);
    if (name == "train.bin") train.push_back(path);
    if (name == "test.bin") test.push_back(path);
    if (name.starts_with("data_batch_") && name.find(".bin.") != std::string::npos) packed.push_back(path);
  }
  std::ranges::sort(batches);
  const auto parts = [&](const std::vector<std::string>& train_files, const std::vector<std::string>& test_files,
                         const Form& form) {
    SplitOpeners openers{part_of(folder, train_files, form, "train"), {}, part_of(folder, test_files, form, "test")};
    openers.reading.form = "CIFAR's files";
    return openers;
  };
  if (!batches.empty() || !test_batch.empty()) return parts(batches, test_batch, kCifar10);
  if (!train.empty() || !test.empty()) return parts(train, test, kCifar100);
  check(packed.empty(), packed.empty() ? "" : *std::ranges::min_element(packed),
        ": is packed; unpack CIFAR's files to .bin first (xz -dk, or gunzip -k)");
  return std::nullopt;
}

}  // namespace retort
