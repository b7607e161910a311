// What `retort bench` says of kernels in the simulator: that one that is wrong is called so.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "engine/core/check.h"
#include "tools/bench/right.h"

namespace retort {
namespace {

const KernelTable* real = nullptr;

void doubled(Stream stream, Rows rows, double temperature, const void* x, void* y) {
  real->softmax.forward(stream, rows, temperature, x, y);
  auto* const values = static_cast<float*>(y);  // the simulator's memory is this process's
  for (std::int64_t i = 0; i < rows.rows * rows.classes; ++i) values[i] *= 2;
}

void unwritten(Stream, Rows, double, const void*, void*) {}

/// One element of the last row is off by a thousandth of what a product of `k` such terms may be.
void one_off(Stream stream, const GemmGeometry& g, const void* a, const void* b, const void* bias, bool relu, void* c,
             void* workspace) {
  real->gemm.run(stream, g, a, b, bias, relu, c, workspace);
  static_cast<float*>(c)[g.m * g.n - 1] += 1e-3f * static_cast<float>(g.k);
}

}  // namespace

TEST_CASE("bench: a wrong kernel in the simulator is called wrong, and the right one right") {
  std::optional<Backend> found;
  try {
    found = find_backend("--backend", "simt", "fp32", Subject::softmax);
  } catch (const UsageError& error) {
    MESSAGE("skipped: ", error.what());
    return;
  }
  const Backend backend = *found;
  real = backend.table;
  const Rows rows{5, 33};
  const GemmGeometry product{.m = 9, .n = 17, .k = 20};
  CHECK(softmax_error(rows, 1, false, backend, 1) <= 1);
  CHECK(gemm_error(product, backend, 1) <= 1);

  KernelTable broken = *real;
  Backend wrong = backend;
  wrong.table = &broken;
  broken.softmax.forward = doubled;
  broken.gemm.run = one_off;
  CHECK(softmax_error(rows, 1, false, wrong, 1) > 1);
  CHECK(gemm_error(product, wrong, 1) > 1);
  broken.softmax.forward = unwritten;
  CHECK(std::isinf(softmax_error(rows, 1, false, wrong, 1)));
}

}  // namespace retort
