// cuBLAS and cuDNN behind the table: near the oracle on a GPU, and what is said where they cannot be opened.
#ifdef RETORT_VENDOR
#include <doctest/doctest.h>

#include "kernels/vendor/library.h"
#include "kernels/vendor/table.h"
#include "tests/cases/conv2d.h"
#include "tests/cases/gemm.h"
#include "tests/cases/softmax.h"
#include "tests/simt/backends.h"

namespace retort {
namespace {

using vendor::Vendor;

bool usable(Vendor vendor) { return test::device_under_test() == Device::cuda && *vendor::unavailable(vendor) == 0; }

/// A table of the libraries. What they promise is how near a result is on the whole.
test::Backend backend(const char* name, const KernelTable& table, DType dtype, double relative_rms) {
  test::Backend backend = test::device_backends()[0];
  backend.name = name;
  backend.f32 = dtype == DType::f32 ? &table : nullptr;
  backend.bf16 = dtype == DType::bf16 ? &table : nullptr;
  backend.relative_rms = relative_rms;
  return backend;
}

std::vector<test::Backend> vendor_backends() {
  return {backend("vendor", vendor::table_f32(), DType::f32, 1e-5),
          backend("vendor tf32", vendor::table_tf32(), DType::f32, 2e-3),
          backend("vendor bf16", vendor::table_bf16(), DType::bf16, 1e-2)};
}

TEST_CASE("vendor: cuDNN's convolutions and softmax are near the oracle" * doctest::skip(!usable(Vendor::cudnn))) {
  test::run_cases(test::kConv2dRealCases, vendor_backends());
  test::run_cases(test::kSoftmaxRealCases, vendor_backends());
}

TEST_CASE("vendor: cuBLAS's products are near the oracle" * doctest::skip(!usable(Vendor::cublas))) {
  test::run_cases(test::kGemmRealCases, vendor_backends());
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
