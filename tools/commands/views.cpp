// retort views: writes the pictures that training will draw, for a teacher elsewhere to score.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/core/check.h"
#include "engine/io/encode.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/recipe.h"
#include "tools/run/teachers.h"
#include "tools/run/views.h"

namespace retort {
namespace {

constexpr std::int64_t kPhotoSize = 224;

struct ViewsOptions {
  CommonOptions common;
  DataOptions data;
  std::int64_t views = 1;
  std::optional<std::string> augment;
  std::string out;
};

template <class Visitor>
void visit_flags(ViewsOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = kSplitHelp});
  flag("--views", o.views, "Augmented views of each picture", whole_number(1));
  flag("--augment", o.augment,
       "Of the views: none, or a list of flip, crop, jitter, erase, randaugment (default with K > 1: crop,flip; grey "
       "sets: jitter)",
       anything());
  flag("-o,--out", o.out, "Folder for the views, names.csv and views.json", required(anything()));
}

/// What the files hold: pixels as they are, but for what --augment erases, which becomes the mean colour.
Preprocessing pixels_of(const DataOptions& options, const Dataset& dataset) {
  Preprocessing pixels;
  pixels.channels = dataset.native_channels();
  pixels.image_size = dataset.native_size() > 0 ? dataset.native_size() : kPhotoSize;
  pixels.mean = {0.485, 0.456, 0.406};
  pixels.mean.resize(static_cast<std::size_t>(pixels.channels));
  pixels = preprocessing_for(options, pixels);
  pixels.std.assign(pixels.mean.size(), 1);
  return pixels;
}

Image as_image(const std::vector<float>& normalised, const Preprocessing& pixels) {
  Image image{pixels.image_size, pixels.image_size, pixels.channels, std::vector<std::uint8_t>(normalised.size())};
  for (std::size_t i = 0; i < normalised.size(); ++i) {
    const double value = normalised[i] + pixels.mean[i % pixels.mean.size()];
    image.pixels[i] = static_cast<std::uint8_t>(std::lround(std::clamp(255 * value, 0.0, 255.0)));
  }
  return image;
}

/// The views of the pictures, drawn as the loader draws them, a picture a thread. Calls `done` from this thread.
class Writer {
 public:
  Writer(const Dataset& dataset, const ViewList& list, const Preprocessing& pixels, const std::string& folder)
      : dataset_(dataset), list_(list), pixels_(pixels), folder_(folder) {}

  void run(Progress& bar) {
    {
      std::vector<std::jthread> workers;
      for (int i = 1; i < num_threads(); ++i) workers.emplace_back([this] { work({}); });
      work([&] { bar.update(std::min(next_.load(), dataset_.size()) * list_.views); });
    }
    if (fault_) std::rethrow_exception(fault_);
    if (interrupted()) throw Interrupted{};
  }

 private:
  void work(const std::function<void()>& done) {
    try {
      for (std::int64_t i; !interrupted() && !failed_ && (i = next_++) < dataset_.size();) {
        write(i);
        if (done) done();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!fault_) fault_ = std::current_exception();
      failed_ = true;
    }
  }
  void write(std::int64_t i) const {
    const Image image = dataset_.load(i);
    const std::string& name = dataset_.name(i);
    std::vector<float> seen(static_cast<std::size_t>(pixels_.image_size * pixels_.image_size * pixels_.channels));
    for (std::int64_t view = 0; view < list_.views; ++view) {
      const auto number = static_cast<std::uint64_t>(view);
      render(image,
             list_.augmentation.any() ? draw_view(image, list_.augmentation, list_.seed, number, name)
                                      : centre_view(image),
             pixels_, seen.data());
      const std::string file = (std::filesystem::path(folder_) / (view_name(name, view) + ".png")).string();
      write_atomic(file, std::span<const std::uint8_t>(encode_png(as_image(seen, pixels_))));
    }
  }

  const Dataset& dataset_;
  const ViewList& list_;
  const Preprocessing& pixels_;
  const std::string& folder_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr fault_;
};

/// Whether what is written to a folder would be pictures of a data set.
bool belongs_to(const std::string& folder, const std::string& data) {
  const std::filesystem::path set = std::filesystem::weakly_canonical(data),
                              path = std::filesystem::weakly_canonical(folder);
  return std::mismatch(set.begin(), set.end(), path.begin(), path.end()).first == set.end();
}

void run_views(const ViewsOptions& options) {
  apply_common_options(options.common);
  if (belongs_to(options.out, options.data.path))
    throw UsageError(text("--out: ", options.out,
                          " lies in the folder of --data, whose pictures the views would become; give another"));
  check_writable((std::filesystem::path(options.out) / kViewListFile).string());
  const auto dataset = open_data(options.data, options.common, options.data.split.value_or(Split::train),
                                 /*allow_unlabelled=*/true);
  const Preprocessing pixels = pixels_of(options.data, *dataset);
  ViewList list;
  list.views = options.views;
  list.seed = options.common.seed;
  list.image_size = pixels.image_size;
  if (options.augment)
    list.augmentation = parse_augmentation(*options.augment);
  else if (options.views > 1)
    list.augmentation = default_augmentation(*dataset);
  for (std::int64_t i = 0; i < dataset->size(); ++i) {
    list.names.push_back(dataset->name(i));
    list.hashes.push_back(dataset->content_hash(i));
    check(is_utf8(list.names.back()), options.data.path, ": cannot write the name '", list.names.back(),
          "', which is not UTF-8; rename it");
  }
  // A list of other views must not stand beside these while they are written.
  std::filesystem::remove(std::filesystem::path(options.out) / kViewListFile);
  catch_interrupts();
  {
    Progress bar("views", list.rows(), options.common.quiet);
    Writer(*dataset, list, pixels, options.out).run(bar);
  }
  write_view_list(options.out, list);
  say(options.common.quiet,
      text("saved ", options.views, " views of ", dataset->size(), " pictures, ", pixels.image_size, " x ",
           pixels.image_size, ", in ", options.out, "; score every file of names.csv, and keep the table there"));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"pictures", dataset->size()},
                                                  {"views", options.views},
                                                  {"augmentation", format_augmentation(list.augmentation)},
                                                  {"image_size", pixels.image_size},
                                                  {"out", options.out}})
              << std::endl;
}

}  // namespace

void add_views_command(CLI::App& app) {
  add_command<ViewsOptions>(app, "views", "Writes the pictures that training will draw, for a teacher elsewhere",
                            run_views);
}

}  // namespace retort
