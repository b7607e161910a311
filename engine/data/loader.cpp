// The consumer opens a slot per batch ahead, and allocates its tensors there and then: so the arena sees the same
// sequence in every run. Workers fill the slots sample by sample, the earliest batch first.
#include "engine/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>

#include "engine/core/check.h"
#include "engine/core/random.h"

namespace retort {

namespace {

/// Decoded images, kept until a budget is used up: which ones are kept depends on who came first, what is loaded does
/// not.
class ImageCache {
 public:
  ImageCache(const Dataset& dataset, std::int64_t budget)
      : dataset_(dataset), left_(budget), images_(static_cast<std::size_t>(dataset.size())) {}

  std::shared_ptr<const Image> load(std::int64_t index) {
    if (dataset_.decoded(index)) return std::make_shared<const Image>(dataset_.load(index));
    {
      const std::lock_guard lock(mutex_);
      if (images_[index]) return images_[index];
    }
    auto image = std::make_shared<const Image>(dataset_.load(index));
    const auto bytes = static_cast<std::int64_t>(image->pixels.size());
    const std::lock_guard lock(mutex_);
    if (!images_[index] && bytes <= left_) {
      images_[index] = image;
      left_ -= bytes;
    }
    return image;
  }

 private:
  const Dataset& dataset_;
  std::mutex mutex_;
  std::int64_t left_;
  std::vector<std::shared_ptr<const Image>> images_;
};

struct Slot {
  Batch batch;
  std::vector<std::uint64_t> views;  ///< one a sample
  std::int64_t next = 0;             ///< the first sample that no worker has taken
  std::int64_t left = 0;             ///< samples that are not done
  std::int64_t fault_at = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr fault;  ///< of the earliest sample that has one

  std::int64_t size() const { return static_cast<std::int64_t>(batch.indices.size()); }
};

}  // namespace

RowRange part_rows(std::int64_t rows, std::int64_t full, std::int64_t parts, std::int64_t part, std::int64_t fewest) {
  const std::int64_t least = std::clamp<std::int64_t>(full / parts, 1, fewest);
  const std::int64_t used = std::clamp<std::int64_t>(rows / least, 1, parts);
  if (part >= used) return {};
  const std::int64_t first = rows * part / used;
  return {first, rows * (part + 1) / used - first};
}

struct Loader::State {
  State(const Dataset& the_dataset, const LoaderOptions& the_options)
      : dataset(the_dataset), options(the_options), cache(the_dataset, the_options.cache_bytes) {}

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    work.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  const Dataset& dataset;
  const LoaderOptions options;
  ImageCache cache;

  // The consumer's alone.
  std::vector<Draw> order;
  std::int64_t skipped = 0;    ///< batches at the beginning
  std::int64_t next_part = 0;  ///< to be opened, counted over the parts that are taken

  // Shared, under the mutex. A worker keeps its slot alive, so the consumer may drop slots at any time.
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<std::shared_ptr<Slot>> slots;  ///< in the order of delivery
  bool stopping = false;

  std::vector<std::thread> workers;

  std::int64_t batches() const {
    if (options.plan) return options.plan->batches;
    const std::int64_t n = dataset.size(), size = options.batch_size;
    const bool left_out = n % size > 0 && n % size < std::min(size, options.smallest);
    return (n + size - 1) / size - (left_out ? 1 : 0);
  }

  /// The batch of the next part.
  std::int64_t next_batch() const {
    return skipped + options.turns.first + next_part / options.parts.taken * options.turns.count;
  }

  /// Names the samples of the next part.
  void deal(Slot& slot) const {
    const std::int64_t size = options.plan ? options.plan->batch_size() : options.batch_size;
    const std::int64_t first = next_batch() * size;
    Batch& batch = slot.batch;
    batch.part = options.parts.first + next_part % options.parts.taken;
    batch.whole = std::min(size, static_cast<std::int64_t>(order.size()) - first);
    const auto take = [&](std::int64_t from, std::int64_t rows, std::int64_t full) {
      const RowRange range = part_rows(rows, full, options.parts.count, batch.part, options.parts.fewest);
      for (std::int64_t i = from + range.first; i < from + range.first + range.count; ++i) {
        batch.indices.push_back(order[i].index);
        slot.views.push_back(order[i].view);
      }
      return range.count;
    };
    if (!options.plan) {
      take(first, batch.whole, size);
      return;
    }
    const std::int64_t labelled = options.plan->labelled, unlabelled = options.plan->unlabelled;
    batch.labelled = take(first, labelled, labelled);  // each part has its share of either kind
    take(first + labelled, unlabelled, unlabelled);
    batch.views = slot.views;
  }

  /// Opens slots until enough are ahead.
  void refill() {
    for (;;) {
      {
        const std::lock_guard lock(mutex);
        if (next_batch() >= batches() || static_cast<int>(slots.size()) >= options.prefetch) return;
      }
      auto slot = std::make_shared<Slot>();
      deal(*slot);
      Batch& batch = slot->batch;
      const std::int64_t n = slot->size();
      if (n > 0)
        for (const Preprocessing& to : options.preprocessings)
          batch.inputs.push_back(Tensor::empty({n, to.image_size, to.image_size, to.channels}));
      if (n > 0 && dataset.labelled()) {
        batch.labels = Tensor::empty({n}, DType::i64);
        for (std::int64_t i = 0; i < n; ++i) batch.labels.data<std::int64_t>()[i] = dataset.label(batch.indices[i]);
      }
      slot->left = n;
      ++next_part;
      const std::lock_guard lock(mutex);
      slots.push_back(std::move(slot));
      work.notify_all();
    }
  }

  void fill_sample(const Slot& slot, std::int64_t position) {
    const std::int64_t index = slot.batch.indices[position];
    const std::shared_ptr<const Image> image = cache.load(index);
    const View seen = options.augmentation.any() ? draw_view(*image, options.augmentation, options.view_seed,
                                                             slot.views[position], dataset.name(index))
                                                 : centre_view(*image);
    for (std::size_t i = 0; i < options.preprocessings.size(); ++i) {
      const Tensor& input = slot.batch.inputs[i];
      render(*image, seen, options.preprocessings[i], input.data<float>() + position * (input.count() / slot.size()));
    }
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      const auto open = [](const std::shared_ptr<Slot>& slot) { return slot->next < slot->size(); };
      work.wait(lock, [&] { return stopping || std::ranges::any_of(slots, open); });
      if (stopping) return;
      const std::shared_ptr<Slot> slot = *std::ranges::find_if(slots, open);
      const std::int64_t position = slot->next++;
      lock.unlock();
      std::exception_ptr fault;
      try {
        fill_sample(*slot, position);
      } catch (...) {
        fault = std::current_exception();
      }
      lock.lock();
      if (fault && position < slot->fault_at) {
        slot->fault = fault;
        slot->fault_at = position;
      }
      if (--slot->left == 0) done.notify_one();
    }
  }
};

Loader::Loader(const Dataset& dataset, const LoaderOptions& options) {
  if (options.batch_size < 1)
    throw UsageError(text("--batch-size: ", options.batch_size, " is too small; give at least 1"));
  check(options.workers >= 1 && options.prefetch >= 1, "loader: ", options.workers, " workers and ", options.prefetch,
        " batches ahead, expected at least 1 of each");
  state_ = std::make_unique<State>(dataset, options);
  try {
    for (int i = 0; i < options.workers; ++i) state_->workers.emplace_back([state = state_.get()] { state->run(); });
  } catch (const std::system_error& error) {
    throw Error(text("cannot start ", options.workers, " threads to read images (", error.code().message(),
                     "); give fewer with --threads"));
  }
}

Loader::~Loader() = default;

void Loader::start(std::uint64_t epoch, std::uint64_t view, std::int64_t skip) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->slots.clear();
  }
  const LoaderOptions& options = state_->options;
  const std::int64_t n = state_->dataset.size();
  std::vector<Draw>& order = state_->order;
  if (options.plan) {
    order = draw_epoch(state_->dataset, *options.plan, options.seed, epoch);
  } else {
    order.clear();
    if (options.shuffle)
      for (const std::int64_t index : permutation(n, Random::of(options.seed, "shuffle", epoch)))
        order.push_back({index, view});
    else
      for (std::int64_t i = 0; i < n; ++i) order.push_back({i, view});
  }
  state_->skipped = skip;
  state_->next_part = 0;
  state_->refill();
}

bool Loader::next(Batch& batch) {
  std::shared_ptr<Slot> slot;
  {
    std::unique_lock lock(state_->mutex);
    if (state_->slots.empty()) return false;
    slot = state_->slots.front();
    state_->done.wait(lock, [&] { return slot->left == 0; });
    state_->slots.pop_front();
  }
  state_->refill();
  if (slot->fault) std::rethrow_exception(slot->fault);
  batch = std::move(slot->batch);
  return true;
}

std::int64_t Loader::batches() const { return state_->batches(); }

}  // namespace retort
