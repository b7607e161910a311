// retort bench data: from image files to batches, stage by stage, in photos a second.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>

#include "engine/core/check.h"
#include "engine/data/loader.h"
#include "engine/io/encode.h"
#include "engine/io/file.h"
#include "kernels/threads.h"
#include "models/registry.h"
#include "tools/bench/bench.h"
#include "tools/cli/progress.h"
#include "tools/run/draw.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kWidth = 500, kHeight = 375;  // of the photos drawn
constexpr int kQuality = 90;
constexpr Augmentation kAugmentation{.flip = true, .crop = true};

struct BenchDataOptions : BenchOptions {
  std::string data;
  std::int64_t images = 64, image_size = 224;
};

template <class Visitor>
void visit_flags(BenchDataOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_repeats(o, flag);
  flag("--data", o.data, "Folder of images (default: draws JPEGs of 500 x 375 pixels)", anything());
  flag("--images", o.images, "How many", whole_number(1));
  flag("--image-size", o.image_size, "Width and height after resizing", whole_number(1, kMaxImageSize));
}

/// A folder for this run alone.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "retort-bench-XXXXXX").string();
    check(mkdtemp(name.data()) != nullptr, name, ": cannot be created; set TMPDIR to a folder that can be written to");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

void write_photos(const std::string& folder, std::int64_t count, const CommonOptions& common) {
  std::size_t bytes = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::vector<std::uint8_t> file = encode_jpeg(draw_photo(kWidth, kHeight, common.seed, i), kQuality);
    write_atomic(text(folder, "/", i, ".jpg"), file);
    bytes += file.size();
  }
  say(common.quiet,
      text("drew ", count, " photos of ", kWidth, " x ", kHeight, " pixels, ", bytes / 1000 / count, " KB each"));
}

/// `cache` may be empty.
std::unique_ptr<Dataset> open_photos(const BenchDataOptions& options, const std::string& folder,
                                     const std::string& cache) {
  DatasetOptions wanted;
  wanted.path = folder;
  wanted.limit = options.images;
  wanted.whole = true;
  wanted.allow_unlabelled = true;
  wanted.cache = cache;
  wanted.cache_hooks.remark = [](const std::string&) {};
  return open_dataset(wanted);
}

std::vector<Image> decode_all(const Dataset& photos) {
  std::vector<Image> decoded;
  for (std::int64_t i = 0; i < photos.size(); ++i) decoded.push_back(photos.load(i));
  return decoded;
}

double bytes_of(const std::vector<Image>& images) {
  double bytes = 0;
  for (const Image& image : images) bytes += static_cast<double>(image.pixels.size());
  return bytes;
}

LoaderOptions loading_to(const Preprocessing& to) {
  LoaderOptions loading;
  loading.preprocessings = {to};
  loading.augmentation = kAugmentation;
  loading.workers = num_threads();
  loading.cache_bytes = 0;
  return loading;
}

/// All batches of an epoch; the loader must outlive it.
std::function<void()> epoch_of(Loader& loader) {
  return [&loader] {
    loader.start(0, 0);
    for (Batch batch; loader.next(batch);) {
    }
  };
}

void run_bench_data(const BenchDataOptions& options) {
  apply_common_options(options.common);
  catch_interrupts();
  const TemporaryFolder scratch;
  if (options.data.empty()) write_photos(scratch / "photos", options.images, options.common);
  const auto photos = open_photos(options, options.data.empty() ? scratch / "photos" : options.data, "");
  const std::int64_t count = photos->size();
  const std::vector<Image> decoded = decode_all(*photos);
  const double pixel_bytes = bytes_of(decoded);

  Preprocessing to = default_preprocessing("resnet50", 0, 3);
  to.image_size = options.image_size;
  const std::int64_t rendered = to.image_size * to.image_size * to.channels;
  const double rendered_bytes = static_cast<double>(count * rendered) * sizeof(float);
  const Tensor inputs = Tensor::empty({count, to.image_size, to.image_size, to.channels});
  const auto draw = [&](std::int64_t i, const Image& image, bool augmented) {
    const View view = augmented ? draw_view(image, kAugmentation, 0, 0, photos->name(i)) : centre_view(image);
    render(image, view, to, inputs.data<float>() + i * rendered);
  };
  Loader loader(*photos, loading_to(to));

  const std::string shape = text(count, " photos to ", to.image_size);
  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  const auto add = [&](const char* name, double bytes, std::function<void()> call) {
    candidates.push_back({std::move(call), Device::cpu});
    results.push_back({.name = name,
                       .backend = Backend{"cpu", nullptr, Device::cpu, DType::f32, "fp32"},
                       .shape = shape,
                       .bytes = bytes,
                       .images = static_cast<double>(count)});
  };
  const auto each = [&](auto body) { return [=] { parallel_tasks(count, [&](std::int64_t i, int) { body(i); }); }; };
  add("data.decode", pixel_bytes, each([&](std::int64_t i) { photos->load(i); }));
  add("data.resize", pixel_bytes + rendered_bytes, each([&](std::int64_t i) { draw(i, decoded[i], false); }));
  add("data.resize crop,flip", pixel_bytes + rendered_bytes, each([&](std::int64_t i) { draw(i, decoded[i], true); }));
  add("data.decode+resize", 2 * pixel_bytes + rendered_bytes,
      each([&](std::int64_t i) { draw(i, photos->load(i), false); }));
  add("data.decode+resize crop,flip", 2 * pixel_bytes + rendered_bytes,
      each([&](std::int64_t i) { draw(i, photos->load(i), true); }));
  add("data.loader crop,flip", 2 * pixel_bytes + rendered_bytes, epoch_of(loader));
  std::unique_ptr<Dataset> cached;
  std::optional<Loader> of_cached;
  if (options.data.empty()) {  // a folder's cache would hold all of it
    cached = open_photos(options, scratch / "photos", scratch / "pixels");
    of_cached.emplace(*cached, loading_to(to));
    add("data.loader crop,flip --cache", pixel_bytes + rendered_bytes, epoch_of(*of_cached));
  }
  measure(candidates, options, results);
  print_results(options, results, /*totals=*/false);
}

}  // namespace

void add_bench_data(CLI::App& bench) {
  BenchDataOptions defaults;
  defaults.repeats = 5;
  add_command<BenchDataOptions>(bench, "data", "Photos: decoding, resizing, whole batches", run_bench_data, defaults);
}

}  // namespace retort
