#include "models/bundle.h"

#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/atomic_file.h"
#include "engine/io/content_hash.h"
#include "engine/io/file.h"

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

constexpr std::string_view kMagic = "retort bundle 1\n", kElf =
                                                             "\x7f"
                                                             "ELF";
constexpr std::uint64_t kAlignment = 64;
constexpr const char* kAgain = "; copy the bundle again";

struct Trailer {
  std::array<char, kMagic.size()> magic;
  std::uint64_t offset, length, hash;
};
static_assert(sizeof(Trailer) == kMagic.size() + 3 * sizeof(std::uint64_t));

template <class Record>
Record read_record(const InputFile& file, std::uint64_t offset) {
  std::array<std::uint8_t, sizeof(Record)> bytes;
  file.read(offset, bytes);
  return std::bit_cast<Record>(bytes);
}

template <class Record>
std::span<const std::uint8_t> bytes_of(const Record& record) {
  return {reinterpret_cast<const std::uint8_t*>(&record), sizeof record};
}

bool begins_as_program(const InputFile& file) {
  return file.size() >= kElf.size() &&
         std::memcmp(read_record<std::array<char, 4>>(file, 0).data(), kElf.data(), kElf.size()) == 0;
}

std::string digits(std::uint64_t hash) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

std::optional<BundledModel> find(const InputFile& file, const std::string& path) {
  if (file.size() < sizeof(Trailer) || !begins_as_program(file)) return std::nullopt;
  const std::uint64_t end = file.size() - sizeof(Trailer);
  const auto trailer = read_record<Trailer>(file, end);
  if (std::memcmp(trailer.magic.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  check(trailer.offset <= end && trailer.length == end - trailer.offset, path, ": its last bytes say that a model of ",
        trailer.length, " bytes begins at byte ", trailer.offset, ", and the file has ", file.size(), kAgain);
  return BundledModel{trailer.offset, trailer.length, digits(trailer.hash)};
}

/// The end of an ELF file's section headers, which linkers put last; 0 for one without. The fields are those of
/// Elf64_Ehdr.
std::uint64_t end_of_program(const InputFile& file) {
  constexpr std::uint64_t kHeader = 64, kSections = 40, kSectionBytes = 58;
  if (file.size() < kHeader) return 0;
  const auto sections = read_record<std::uint64_t>(file, kSections);
  const auto bytes = read_record<std::array<std::uint16_t, 2>>(file, kSectionBytes);  // of a header, and their number
  return sections + std::uint64_t{bytes[0]} * bytes[1];
}

}  // namespace

bool is_program(const std::string& path) { return begins_as_program(InputFile(path)); }

std::optional<BundledModel> find_bundled_model(const std::string& path) { return find(InputFile(path), path); }

TensorFile read_bundled_model(const std::string& path) {
  const InputFile file(path);
  const std::optional<BundledModel> place = find(file, path);
  if (!place) {
    check(begins_as_program(file), path, ": no bundle; make one with `retort bundle`");
    check(file.size() <= end_of_program(file), path, ": cut short: its model's end is missing", kAgain);
    throw Error(text(path, ": holds no model; `retort bundle --model FILE --out classify` puts one in"));
  }
  const InputFile model(path, place->offset, place->length);
  const std::string found = file_hash(model);
  check(found == place->hash, path, ": its model has changed since it was bundled (hash ", found, ", expected ",
        place->hash, ")", kAgain);
  return read_safetensors(model, path);
}

Model load_bundle(const std::string& path) {
  Model model = make_model(read_bundled_model(path), path);
  model.recorded_hash = find_bundled_model(path)->hash;
  return model;
}

void write_bundle(const std::string& path, const std::string& program, const TensorFile& model, WeightType weights) {
  const std::vector<std::uint8_t> code = read_file(program);
  check(is_program(program), program, ": no program of this system; build retort-classify again");
  check(!find_bundled_model(program), program, ": carries a model already; build retort-classify again");
  AtomicFile file(path);
  file.write(code);
  const std::uint64_t offset = (code.size() + kAlignment - 1) / kAlignment * kAlignment;
  file.write(std::vector<std::uint8_t>(offset - code.size()));
  ContentHash hash;
  std::uint64_t length = 0;
  write_safetensors(
      [&](std::span<const std::uint8_t> bytes) {
        file.write(bytes);
        hash.add(bytes);
        length += bytes.size();
      },
      path, model, weights);
  Trailer trailer{.magic = {}, .offset = offset, .length = length, .hash = std::stoull(hash.digits(), nullptr, 16)};
  std::memcpy(trailer.magic.data(), kMagic.data(), kMagic.size());
  file.write(bytes_of(trailer));
  file.make_executable();
  file.commit();
}

}  // namespace retort
