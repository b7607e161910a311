// What the benchmarks of kernels over rows share: the shapes that they measure.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/cases/rows_shapes.h"
#include "tools/bench/bench.h"

namespace retort {

struct RowsOptions : BenchOptions {
  std::int64_t rows = 256, classes = 1000;
  bool cases = false;
};

/// Of the logits that are drawn.
inline constexpr double kLogitDeviation = 3;

/// The flag's rows, or those of the tests.
inline std::vector<Rows> shapes_of(const RowsOptions& options) {
  if (!options.cases) return {{options.rows, options.classes}};
  std::vector<Rows> shapes;
  for (const test::RowsShape& shape : test::kRowsShapes) shapes.push_back(shape.rows);
  return shapes;
}

}  // namespace retort
