// A program for gdb to stop in: tests/gdb/printers_test.sh prints x, x.shape() and the tape from `look`.
#include <array>

#include "engine/core/tape.h"
#include "engine/ops/elementwise.h"

using namespace retort;

__attribute__((noinline)) void look(const Tensor& x, const Shape& shape, const Tape& tape) {
  asm volatile("" : : "r"(&x), "r"(&shape), "r"(&tape) : "memory");
}

int main() {
  Tensor x = Tensor::from<float>({1, 3}, std::array{0.5f, 1.0f, -2.0f});
  x.require_grad();
  Tape tape;
  const Tensor y = relu(add(x, scale(x, 2)));
  look(x, y.shape(), tape);
}
