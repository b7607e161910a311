// Uses one thing of each installed library.
#include <cstdio>

#include "engine/core/kernels.h"
#include "kernels/table.h"
#include "models/registry.h"

int main() {
  const retort::Tensor ones = retort::Tensor::full(retort::Shape{2, 3}, 1.0);
  const retort::KernelTable& table = retort::kernels(ones);
  std::printf("%d %lld %d\n", &table != nullptr, static_cast<long long>(ones.count()),
              retort::is_architecture("resnet50"));
}
