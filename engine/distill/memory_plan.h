// Whether a run fits into memory, found before it begins by trying its work on a few blank images.
//
// What tensors hold at most is a straight line in the number of images but for the scratch memory of kernels, which
// depends on shapes in steps. It is measured at two small numbers, and the line goes on from there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "engine/data/loader.h"

namespace retort {

/// What is kept back of the room for images where the largest batch is named: the line may rise a little more steeply.
inline constexpr double kPlanMargin = 0.1;

/// A batch of black images, all of the dataset's first sample, with labels of class 0.
Batch blank_batch(const std::vector<Preprocessing>& preprocessings, std::int64_t images);
/// What the loader's parts ahead, and those of one batch that a step takes, hold of tensors, by image of a part.
std::size_t loader_bytes(const LoaderOptions& loading);

/// Into how many parts a batch can be cut: so many by each process.
struct BatchCut {
  std::int64_t accumulate = 1, ranks = 1;
};

/// Throws Error where `work` on `batch` images, or on one part of them, would take more tensors on the CPU than the
/// limit allows, naming the need, the limit, who sets it, and the largest batch or part that fits: with a cut also the
/// --accumulate that makes it so. `beside`: bytes an image that are held besides.
void check_fits(const std::function<void(std::int64_t images)>& work, std::int64_t batch, std::size_t beside,
                std::optional<BatchCut> cut = {});

}  // namespace retort
