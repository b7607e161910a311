#include "engine/core/tensor.h"

#include <doctest/doctest.h>

#include <array>
#include <sstream>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;

TEST_CASE("shape: extents, count, text and limits") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape[0] == 2);
  CHECK(shape[-1] == 4);
  CHECK(shape.count() == 24);
  CHECK(Shape{}.count() == 1);
  CHECK(to_string(shape) == "[2, 3, 4]");
  CHECK(to_string(Shape{}) == "[]");
  CHECK(shape == Shape{2, 3, 4});
  CHECK(shape != Shape{2, 3});
  CHECK(Shape{2, 1} != Shape{2});
  CHECK(error_message([] { Shape{1, 2, 3, 4, 5}; }) == "[shape] 5 axes; use at most 4");
  CHECK(error_message([] { Shape{1, -2}; }) == "[shape] axis 1 has the extent -2; use 0 or more");
}

TEST_CASE("a tensor prints its dtype, shape, device and first elements") {
  CHECK(to_string(Tensor()) == "none");
  CHECK(to_string(Tensor::from<float>({3}, std::array{0.5f, 1.0f, -2.0f})) == "f32 [3] on cpu: 0.5 1 -2");
  CHECK(to_string(Tensor::full({2, 4}, 7, DType::i64)) == "i64 [2, 4] on cpu: 7 7 7 7 7 7 ...");
  CHECK(to_string(Tensor::full({1}, 1.5, DType::bf16)) == "bf16 [1] on cpu: 1.5");
  std::ostringstream printed;
  printed << Tensor::zeros({1}, DType::f64);
  CHECK(printed.str() == "f64 [1] on cpu: 0");
}

TEST_CASE("a copy shares the elements, a clone does not") {
  const Tensor a = Tensor::full({2, 2}, 3);
  CHECK(a.unique());
  const Tensor b = a, c = a.clone();  // NOLINT(performance-unnecessary-copy-initialization): it shares
  CHECK_FALSE(a.unique());
  b.data<float>()[0] = 7;
  CHECK(a.data<float>()[0] == 7);
  CHECK(c.data<float>()[0] == 3);
  CHECK_FALSE(Tensor().clone());
}

TEST_CASE("zeros, full and from, in every dtype") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::i32, DType::u8, DType::i8}) {
    const Tensor zeros = Tensor::zeros({5}, dtype), twos = Tensor::full({5}, 2, dtype);
    CHECK(zeros.dtype() == dtype);
    CHECK(zeros.bytes() == 5 * size_of(dtype));
    const auto at = [dtype](const Tensor& tensor, int i) -> double {
      switch (dtype) {
        case DType::f32: return tensor.data<float>()[i];
        case DType::f64: return tensor.data<double>()[i];
        case DType::i64: return static_cast<double>(tensor.data<std::int64_t>()[i]);
        case DType::u8: return tensor.data<std::uint8_t>()[i];
        case DType::i8: return tensor.data<std::int8_t>()[i];
        default: return tensor.data<std::int32_t>()[i];
      }
    };
    for (int i = 0; i < 5; ++i) {
      CHECK(at(zeros, i) == 0);
      CHECK(at(twos, i) == 2);
    }
  }
  const std::vector<std::int64_t> labels{4, 5, 6};
  CHECK(Tensor::from<std::int64_t>({3}, labels).data<std::int64_t>()[2] == 6);
  CHECK(error_message([&] {
          Tensor::from<std::int64_t>({2, 2}, labels);
        }) == "[tensor] 3 elements for the shape [2, 2]; give 4");
}

TEST_CASE("a tensor of no elements, and one of rank 0") {
  const Tensor none = Tensor::zeros({0, 3});
  CHECK(none);
  CHECK(none.count() == 0);
  CHECK(none.clone().shape() == Shape{0, 3});
  CHECK(Tensor::full({}, 4).item() == 4);
  CHECK_FALSE(Tensor());
}

TEST_CASE("reading elements as another type, or several as one, is an error") {
  const Tensor x = Tensor::zeros({2, 3});
  CHECK(error_message([&] { x.data<double>(); }) == "[tensor] elements of [2, 3] are f32; do not read them as f64");
  CHECK(error_message([&] { x.item(); }) == "[item] the tensor has the shape [2, 3]; item() reads a single element");
  CHECK(error_message([&] { Tensor().item(); }) == "[item] the tensor has the shape []; item() reads a single element");
}

TEST_CASE("reshaped keeps the elements and their number") {
  const Tensor x = Tensor::full({2, 6}, 1).require_grad();
  const Tensor y = x.reshaped({3, 4});
  CHECK(y.shape() == Shape{3, 4});
  CHECK(y.raw() == x.raw());
  CHECK_FALSE(y.requires_grad());
  CHECK(error_message([&] { x.reshaped({5}); }) == "[reshape] [2, 6] has 12 elements, [5] 5; keep their number");
}

TEST_CASE("to converts between f32 and f64, and nothing else") {
  const std::vector<double> values{0.1, -2};
  const Tensor x = Tensor::from<double>({2}, values);
  const Tensor y = x.to(DType::f32);
  CHECK(y.data<float>()[0] == 0.1f);
  CHECK(y.to(DType::f64).data<double>()[0] == double{0.1f});
  CHECK(x.to(DType::f64).raw() != x.raw());
  CHECK(error_message([&] { x.to(DType::i64); }) == "[to] f64 to i64; only f32, f64 and bf16 convert");
}

TEST_CASE("a gradient slot is shared by copies, and dropped by detached and clone") {
  Tensor x = Tensor::zeros({2});
  const Tensor before = x;
  x.require_grad();
  const auto slot = x.slot();
  CHECK(x.require_grad().slot() == slot);
  CHECK(Tensor(x).slot() == slot);
  CHECK_FALSE(before.requires_grad());
  CHECK_FALSE(x.detached().requires_grad());
  CHECK_FALSE(x.clone().requires_grad());
  CHECK_FALSE(x.grad());
}

TEST_CASE("accumulate takes over the first gradient, then adds in place only to what it owns alone") {
  GradSlot slot;
  Tensor first = Tensor::full({3}, 1);
  const void* const raw = first.raw();
  const Tensor kept = first;
  accumulate(slot, std::move(first));
  CHECK(slot.grad.raw() == raw);
  accumulate(slot, Tensor::full({3}, 2));
  CHECK(kept.data<float>()[0] == 1);  // another's tensor is not touched
  CHECK(slot.grad.data<float>()[2] == 3);
  const void* const own = slot.grad.raw();
  accumulate(slot, kept);
  CHECK(slot.grad.raw() == own);
  CHECK(slot.grad.data<float>()[1] == 4);
  CHECK(take_grad(slot).data<float>()[1] == 4);
  CHECK_FALSE(slot.grad);
}

TEST_CASE("accumulating a tensor onto itself doubles it") {
  GradSlot slot;
  const Tensor x = Tensor::full({2}, 5);
  accumulate(slot, x);
  accumulate(slot, x);
  CHECK(slot.grad.data<float>()[0] == 10);
  CHECK(x.data<float>()[0] == 5);
}

TEST_CASE("ScopedKernels swaps the table of one dtype while it lives") {
  KernelTable table = kernels(DType::f32);
  table.elementwise.add = +[](Stream, std::int64_t n, const void*, const void*, void* y) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<float*>(y)[i] = 42;
  };
  const KernelTable* const usual = &kernels(DType::f32);
  {
    const ScopedKernels swap(DType::f32, table);
    CHECK(&kernels(DType::f32) == &table);
    CHECK(&kernels(DType::f64) != &table);
    GradSlot slot;
    accumulate(slot, Tensor::zeros({1}));
    accumulate(slot, Tensor::zeros({1}));
    CHECK(slot.grad.item() == 42);
  }
  CHECK(&kernels(DType::f32) == usual);
  CHECK(error_message([] { kernels(DType::i64); }) == "[kernels] i64 has no kernels; compute in f32, f64 or bf16");
}

TEST_CASE("tensors and workspaces give their memory back") {
  const std::size_t before = cpu_arena().statistics().used_bytes;
  {
    const Tensor x = Tensor::zeros({1000});
    const Workspace workspace(4096), none(0);
    CHECK(workspace.data() != nullptr);
    CHECK(none.data() == nullptr);
    CHECK(cpu_arena().statistics().used_bytes >= before + 8096);
  }
  CHECK(cpu_arena().statistics().used_bytes == before);
}
