// cuBLAS and cuDNN behind the table: against our own kernels on a GPU, and what is said where they cannot be opened.
#ifdef RETORT_VENDOR
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cuda/table.h"
#include "kernels/vendor/library.h"
#include "kernels/vendor/table.h"
#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::DeviceBuffer;
using vendor::Vendor;

bool usable(Vendor vendor) { return test::device_under_test() == Device::cuda && *vendor::unavailable(vendor) == 0; }

/// Random, of a table's elements, in f32 or bf16.
template <class T>
DeviceBuffer<T> drawn(std::int64_t count, std::uint64_t seed) {
  return DeviceBuffer<T>(test::as<T>(test::uniform(count, seed)));
}

/// ||found - expected|| / ||expected||
template <class T>
double distance(const DeviceBuffer<T>& found, const DeviceBuffer<T>& expected) {
  return test::relative_rms(test::wide(found.values()), test::wide(expected.values()));
}

const Conv2dGeometry kGeometries[] = {
    {.n = 2, .h = 9, .w = 8, .c = 16, .k = 24, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1},
    {.n = 2, .h = 9, .w = 8, .c = 8, .k = 16, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1},
    {.n = 1, .h = 7, .w = 9, .c = 16, .k = 8, .r = 1, .s = 7, .pad_w = 3},
    {.n = 2, .h = 6, .w = 6, .c = 16, .k = 32},
};

template <class T>
void compare(const KernelTable& ours, const KernelTable& theirs, double tolerance) {
  for (const Conv2dGeometry& g : kGeometries) {
    CAPTURE(g.r);
    CAPTURE(g.stride_h);
    const std::int64_t xs = g.n * g.h * g.w * g.c, ws = g.r * g.s * g.c * g.k, ys = g.n * g.p() * g.q() * g.k;
    const auto x = drawn<T>(xs, 1), w = drawn<T>(ws, 2), dy = drawn<T>(ys, 3);
    const auto scale = drawn<float>(g.k, 4), bias = drawn<float>(g.k, 5);
    const auto run = [&](const KernelTable& table, DeviceBuffer<T>& y, DeviceBuffer<T>& dx, DeviceBuffer<float>& dw) {
      const Conv2dKernels& conv = table.conv2d;
      const DeviceBuffer<std::uint8_t> space(
          std::max({conv.workspace_bytes(ConvPass::fprop, g), conv.workspace_bytes(ConvPass::dgrad, g),
                    conv.workspace_bytes(ConvPass::wgrad, g), std::size_t{1}}));
      conv.fprop({}, g, x.get(), w.get(), {scale.get(), bias.get(), dy.get(), /*relu=*/true}, y.get(), space.get());
      conv.dgrad({}, g, dy.get(), w.get(), dx.get(), space.get());
      conv.wgrad({}, g, x.get(), dy.get(), dw.get(), space.get());
    };
    DeviceBuffer<T> y(ys), y2(ys), dx(xs), dx2(xs);
    DeviceBuffer<float> dw(ws), dw2(ws);
    run(ours, y, dx, dw);
    run(theirs, y2, dx2, dw2);
    CHECK(distance(y2, y) <= tolerance);
    CHECK(distance(dx2, dx) <= tolerance);
    CHECK(distance(dw2, dw) <= tolerance);
  }

  const Rows rows{7, 33};
  const auto x = drawn<T>(rows.rows * rows.classes, 5), dy = drawn<T>(rows.rows * rows.classes, 6);
  DeviceBuffer<T> y(7 * 33), y2(7 * 33), dx(7 * 33), dx2(7 * 33);
  ours.softmax.forward({}, rows, 2, x.get(), y.get());
  theirs.softmax.forward({}, rows, 2, x.get(), y2.get());
  ours.softmax.backward({}, rows, 2, y.get(), dy.get(), dx.get());
  theirs.softmax.backward({}, rows, 2, y.get(), dy.get(), dx2.get());
  CHECK(distance(y2, y) <= tolerance);
  CHECK(distance(dx2, dx) <= tolerance);
}

template <class T>
void compare_gemm(const KernelTable& ours, const KernelTable& theirs, double tolerance) {
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      CAPTURE(transpose_a);
      CAPTURE(transpose_b);
      const GemmGeometry g{.m = 24, .n = 40, .k = 56, .transpose_a = transpose_a, .transpose_b = transpose_b};
      const auto a = drawn<T>(g.m * g.k, 1), b = drawn<T>(g.k * g.n, 2);
      const auto bias = drawn<float>(g.n, 3);
      DeviceBuffer<T> c(static_cast<std::size_t>(g.m * g.n)), c2(static_cast<std::size_t>(g.m * g.n));
      const DeviceBuffer<std::uint8_t> space(std::max<std::size_t>(ours.gemm.workspace_bytes(g), 1));
      ours.gemm.run({}, g, a.get(), b.get(), bias.get(), true, c.get(), space.get());
      theirs.gemm.run({}, g, a.get(), b.get(), bias.get(), true, c2.get(), nullptr);
      CHECK(distance(c2, c) <= tolerance);
    }
}

TEST_CASE("vendor: cuDNN's convolutions and softmax are near ours" * doctest::skip(!usable(Vendor::cudnn))) {
  compare<float>(cuda::table_f32(), vendor::table_f32(), 1e-5);
  compare<float>(cuda::table_tf32(), vendor::table_tf32(), 2e-3);
  compare<BFloat16>(cuda::table_bf16(), vendor::table_bf16(), 1e-2);
}

TEST_CASE("vendor: cuBLAS's products are near ours" * doctest::skip(!usable(Vendor::cublas))) {
  compare_gemm<float>(cuda::table_f32(), vendor::table_f32(), 1e-5);
  compare_gemm<float>(cuda::table_tf32(), vendor::table_tf32(), 2e-3);
  compare_gemm<BFloat16>(cuda::table_bf16(), vendor::table_bf16(), 1e-2);
}

TEST_CASE("vendor: a library that is not installed is named") {
  vendor::Library library{"libretort-none.so.2", "libretort-none.so.1"};
  CHECK(library.find("anything") == nullptr);
  CHECK(library.why_not().find("libretort-none.so.2") != std::string::npos);
  CHECK(library.why_not().find("LD_LIBRARY_PATH") != std::string::npos);
}

TEST_CASE("vendor: a function that a library lacks is named") {
  vendor::Library library{"libretort-none.so.1", "libc.so.6"};
  CHECK(library.find("malloc") != nullptr);
  CHECK(library.why_not().empty());
  CHECK(library.find("retort_no_such_function") == nullptr);
  CHECK(library.why_not().find("retort_no_such_function") != std::string::npos);
}

}  // namespace
}  // namespace retort
#endif
