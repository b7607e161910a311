#include "engine/distill/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "engine/core/arena.h"
#include "engine/core/memory_limit.h"
#include "engine/group/group.h"

namespace retort {
namespace {

constexpr std::int64_t kFew = 2, kMore = 6;  // batch norm needs two

/// The most that tensors hold during the work.
double peak_of(const std::function<void(std::int64_t images)>& work, std::int64_t images) {
  cpu_arena().reset_peak();
  work(images);
  return static_cast<double>(cpu_arena().statistics().peak_bytes);
}

std::int64_t parts_of(const std::optional<BatchCut>& cut) { return cut ? cut->accumulate * cut->ranks : 1; }

/// `fits`: images of a part.
Error too_large(std::int64_t batch, const std::optional<BatchCut>& cut, const std::string& need,
                const MemoryLimit& limit, std::int64_t fits) {
  const std::int64_t parts = parts_of(cut), part = part_size(batch, parts);
  const std::string what = parts > 1 ? text(batch, " in ", parts, " parts") : text(batch);
  std::string way_out = fits > 0 ? text("the largest ", parts > 1 ? "part" : "batch", " that fits is ", fits)
                                 : text("not even ", std::min(part, kFew), part == 1 ? " image fits" : " images fit",
                                        ": take a smaller --image-size or network");
  if (cut && fits > 0)
    way_out +=
        text("; --accumulate ", part_size(part_size(batch, fits), cut->ranks), " takes the batch in parts that fit");
  return Error(text("--batch-size: ", what, " takes ", need, " of memory, where ", limit.origin, " allows ",
                    human_bytes(limit.bytes), "; ", way_out));
}

}  // namespace

Batch blank_batch(const std::vector<Preprocessing>& preprocessings, std::int64_t images) {
  Batch batch;
  batch.indices.assign(static_cast<std::size_t>(images), 0);
  for (const Preprocessing& to : preprocessings)
    batch.inputs.push_back(Tensor::zeros({images, to.image_size, to.image_size, to.channels}));
  batch.labels = Tensor::zeros({images}, DType::i64);
  return batch;
}

std::size_t loader_bytes(const LoaderOptions& loading) {
  std::int64_t values = 0;
  for (const Preprocessing& to : loading.preprocessings) values += to.image_size * to.image_size * to.channels;
  return static_cast<std::size_t>(values * (loading.prefetch + loading.parts.taken)) * sizeof(float);
}

void check_fits(const std::function<void(std::int64_t images)>& work, std::int64_t batch, std::size_t beside,
                std::optional<BatchCut> cut) {
  MemoryLimit limit = memory_limit();
  if (const int processes = group().local_size(); processes > 1) {
    limit.bytes /= static_cast<std::size_t>(processes);
    limit.origin += text(", shared by ", processes, " processes,");
  }
  const double allowed = static_cast<double>(limit.bytes), ahead = static_cast<double>(beside);
  const std::int64_t part = part_size(batch, parts_of(cut));
  const std::int64_t few = std::min(part, kFew), more = std::min(part, kMore);
  double first = 0, second = 0;
  try {
    first = peak_of(work, few);
  } catch (const OutOfMemory&) {
    throw too_large(batch, cut, "more than is there", limit, 0);
  }
  const auto n = static_cast<double>(part), at_few = static_cast<double>(few), at_more = static_cast<double>(more);
  // More images never take more each.
  if (n * (first / at_few + ahead) <= allowed) return;
  try {
    second = more > few ? peak_of(work, more) : first;
  } catch (const OutOfMemory&) {
    throw too_large(batch, cut, "more than is there", limit, few);
  }
  const double slope = ahead + (more > few ? (second - first) / (at_more - at_few) : 0);
  const double need = second + at_more * ahead + (n - at_more) * slope;
  if (need <= allowed) return;
  // What is left beyond `more` images; where that is less than nothing, fewer fit.
  const double room = allowed - second - at_more * ahead;
  const double further = room > 0 ? room / (1 + kPlanMargin) / slope : room / slope;
  std::int64_t fits = more > few ? static_cast<std::int64_t>(std::floor(at_more + further)) : 0;
  if (fits <= few) fits = part > few && first + at_few * ahead <= allowed ? few : 0;
  throw too_large(batch, cut, "about " + human_bytes(static_cast<std::size_t>(need)), limit, std::min(fits, part - 1));
}

}  // namespace retort
