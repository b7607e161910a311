// MNIST's IDX files (yann.lecun.com/exdb/mnist): a big-endian magic of 0, 0, type (8: unsigned byte), number of
// dimensions; then the dimensions; then the elements.
#include <filesystem>

#include "engine/core/check.h"
#include "engine/data/formats.h"
#include "engine/io/file.h"

namespace retort {
namespace {

constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kLargestSide = 4096;

/// The path of `stem`-idx`rank`-ubyte in any spelling, or "" where there is none.
std::string find_file(const std::string& folder, const std::string& stem, int rank) {
  for (const char* separator : {"-", "."})
    for (const char* extension : {"", ".gz"}) {
      const std::filesystem::path path =
          std::filesystem::path(folder) / text(stem, separator, "idx", rank, "-ubyte", extension);
      if (std::filesystem::is_regular_file(path)) return path.string();
    }
  return "";
}

std::int64_t big_endian(const std::vector<std::uint8_t>& bytes, std::size_t at) {
  return std::int64_t{bytes[at]} << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
}

struct Idx {
  std::vector<std::int64_t> extents;
  std::vector<std::uint8_t> elements;
};

Idx read_idx(const std::string& path, int rank) {
  Idx idx;
  idx.elements = read_maybe_gzip(path);
  const std::size_t header = 4 + 4 * static_cast<std::size_t>(rank);
  check(idx.elements.size() >= header, path, ": ", idx.elements.size(), " bytes are too few for an IDX header of ",
        header, "; download the file again");
  const std::int64_t magic = big_endian(idx.elements, 0), expected_magic = 0x0800 + rank;
  check(magic == expected_magic, path, ": its magic number is ", magic, ", expected ", expected_magic,
        " (unsigned bytes in ", rank, " dimensions); this is not the file that its name says, download it again");
  std::uint64_t count = 1;
  for (int axis = 0; axis < rank; ++axis) {
    idx.extents.push_back(big_endian(idx.elements, 4 + 4 * axis));
    check(axis == 0 || (idx.extents[axis] >= 1 && idx.extents[axis] <= kLargestSide), path, ": says its images are ",
          idx.extents[axis], " pixels along one side, expected 1 to ", kLargestSide, "; download the file again");
    count *= static_cast<std::uint64_t>(idx.extents[axis]);
  }
  const std::uint64_t found = idx.elements.size() - header;
  check(found == count, path, ": holds ", found, " bytes of data where its header promises ", count,
        "; download the file again");
  idx.elements.erase(idx.elements.begin(), idx.elements.begin() + static_cast<std::ptrdiff_t>(header));
  return idx;
}

std::unique_ptr<Dataset> open_part(const std::string& images_path, const std::string& labels_path,
                                   const std::string& part) {
  Idx images = read_idx(images_path, 3);
  const Idx labels = read_idx(labels_path, 1);
  check(labels.extents[0] == images.extents[0], labels_path, ": holds ", labels.extents[0], " labels for the ",
        images.extents[0], " images of ", images_path, "; both must come from one set");
  PackedSamples samples;
  samples.part = part;
  samples.height = images.extents[1];
  samples.width = images.extents[2];
  samples.channels = 1;
  samples.pixels = std::move(images.elements);
  for (std::size_t i = 0; i < labels.elements.size(); ++i) {
    check(labels.elements[i] < kClasses, labels_path, ": label ", i, " is ", int{labels.elements[i]},
          ", expected 0 to ", kClasses - 1, "; download the file again");
    samples.labels.push_back(labels.elements[i]);
  }
  for (std::int64_t c = 0; c < kClasses; ++c) samples.classes.push_back(std::to_string(c));
  return make_packed_dataset(std::move(samples));
}

SplitOpeners::Open find_part(const std::string& folder, const std::string& stem, const std::string& part) {
  const std::string images = find_file(folder, stem + "-images", 3), labels = find_file(folder, stem + "-labels", 1);
  if (images.empty() && labels.empty()) return {};
  check(!images.empty(), labels, ": its companion ", stem,
        "-images-idx3-ubyte[.gz] is missing; put both in one folder");
  check(!labels.empty(), images, ": its companion ", stem,
        "-labels-idx1-ubyte[.gz] is missing; put both in one folder");
  return [=] { return open_part(images, labels, part); };
}

}  // namespace

std::optional<SplitOpeners> recognise_idx(const std::string& folder) {
  SplitOpeners parts{find_part(folder, "train", "train"), {}, find_part(folder, "t10k", "test")};
  if (!parts.train && !parts.test) return std::nullopt;
  parts.reading.form = "MNIST's files";
  return parts;
}

}  // namespace retort
