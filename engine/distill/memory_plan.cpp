#include "engine/distill/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "engine/core/arena.h"
#include "engine/core/memory_limit.h"

namespace retort {
namespace {

constexpr std::int64_t kFew = 2, kMore = 6;  // batch norm needs two

/// The most that tensors hold during the work.
double peak_of(const std::function<void(std::int64_t images)>& work, std::int64_t images) {
  cpu_arena().reset_peak();
  work(images);
  return static_cast<double>(cpu_arena().statistics().peak_bytes);
}

Error too_large(std::int64_t batch, const std::string& need, const MemoryLimit& limit, std::int64_t fits) {
  const std::string way_out = fits > 0
                                  ? text("the largest batch that fits is ", fits)
                                  : text("not even ", std::min(batch, kFew), batch == 1 ? " image fits" : " images fit",
                                         ": take a smaller --image-size or network");
  return Error(text("--batch-size: ", batch, " takes ", need, " of memory, where ", limit.origin, " allows ",
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
  return static_cast<std::size_t>(values * (loading.prefetch + 1)) * sizeof(float);
}

void check_fits(const std::function<void(std::int64_t images)>& work, std::int64_t batch, std::size_t beside) {
  const MemoryLimit limit = memory_limit();
  const double allowed = static_cast<double>(limit.bytes), ahead = static_cast<double>(beside);
  const std::int64_t few = std::min(batch, kFew), more = std::min(batch, kMore);
  double first = 0, second = 0;
  try {
    first = peak_of(work, few);
  } catch (const OutOfMemory&) {
    throw too_large(batch, "more than is there", limit, 0);
  }
  const auto n = static_cast<double>(batch), at_few = static_cast<double>(few), at_more = static_cast<double>(more);
  // More images never take more each.
  if (n * (first / at_few + ahead) <= allowed) return;
  try {
    second = more > few ? peak_of(work, more) : first;
  } catch (const OutOfMemory&) {
    throw too_large(batch, "more than is there", limit, few);
  }
  const double slope = ahead + (more > few ? (second - first) / (at_more - at_few) : 0);
  const double need = second + at_more * ahead + (n - at_more) * slope;
  if (need <= allowed) return;
  // What is left beyond `more` images; where that is less than nothing, fewer fit.
  const double room = allowed - second - at_more * ahead;
  const double further = room > 0 ? room / (1 + kPlanMargin) / slope : room / slope;
  std::int64_t fits = more > few ? static_cast<std::int64_t>(std::floor(at_more + further)) : 0;
  if (fits <= few) fits = batch > few && first + at_few * ahead <= allowed ? few : 0;
  throw too_large(batch, "about " + human_bytes(static_cast<std::size_t>(need)), limit, std::min(fits, batch - 1));
}

}  // namespace retort
