// Attributes of nodes as the options of the engine's ops, each checked.
#pragma once

#include <initializer_list>

#include "engine/ops/conv2d.h"
#include "engine/ops/pool.h"
#include "engine/ops/spatial.h"
#include "models/graph/spec.h"

namespace retort {

inline constexpr std::int64_t kMaxGraphStep = 1 << 12;  ///< of strides, filters and borders

/// Throws Error where weights of such extents would be too many.
inline void check_elements(const GraphNode& node, std::initializer_list<std::int64_t> extents) {
  std::int64_t count = 1;
  for (const std::int64_t extent : extents) {
    check(extent >= 1 && count <= kMaxGraphElements / extent, "node ", node.name, " (", node.op,
          "): its weights would have more than ", kMaxGraphElements, " elements; export the model again");
    count *= extent;
  }
}

inline Conv2dOptions conv_options(const GraphNode& node) {
  return {.stride_h = node.integer("stride_h", 1, kMaxGraphStep, 1),
          .stride_w = node.integer("stride_w", 1, kMaxGraphStep, 1),
          .pad_h = node.integer("pad_h", 0, kMaxGraphStep, 0),
          .pad_w = node.integer("pad_w", 0, kMaxGraphStep, 0),
          .dilation_h = node.integer("dilation_h", 1, kMaxGraphStep, 1),
          .dilation_w = node.integer("dilation_w", 1, kMaxGraphStep, 1),
          .groups = node.integer("groups", 1, kMaxGraphExtent, 1),
          .relu = node.integer("relu", 0, 1, 0) == 1};
}

inline PoolOptions pool_options(const GraphNode& node) {
  return {.kernel = node.integer("kernel", 1, kMaxGraphStep),
          .stride = node.integer("stride", 1, kMaxGraphStep, 1),
          .pad = node.integer("pad", 0, kMaxGraphStep, 0),
          .ceil_mode = node.integer("ceil", 0, 1, 0) == 1,
          .count_include_pad = node.integer("count_include_pad", 0, 1, 0) == 1};
}

/// Of a pad node.
inline Border border_of(const GraphNode& node) {
  return {node.integer("top", -kMaxGraphStep, kMaxGraphStep, 0), node.integer("left", -kMaxGraphStep, kMaxGraphStep, 0),
          node.integer("bottom", -kMaxGraphStep, kMaxGraphStep, 0),
          node.integer("right", -kMaxGraphStep, kMaxGraphStep, 0), node.number("fill", 0)};
}

/// [h, w, c] of the map that a linear layer's `in` inputs were flattened from; empty where it says none.
inline Shape linear_image(const GraphNode& node, std::int64_t in) {
  if (!node.attributes.contains("h")) return {};
  const Shape image = {node.integer("h", 1, kMaxGraphExtent), node.integer("w", 1, kMaxGraphExtent),
                       node.integer("c", 1, kMaxGraphExtent)};
  check_elements(node, {image[0], image[1], image[2]});
  check(image.count() == in, "node ", node.name, " (", node.op, "): an image of ", image, " is not its ", in,
        " inputs; export the model again");
  return image;
}

}  // namespace retort
