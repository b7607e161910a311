// Work of each family of kernels in the simulator, in bf16, for tests that count what it asks for.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/memory.h"
#include "kernels/table.h"
#include "tests/case.h"
#include "tests/element_types.h"

namespace retort::test {

inline const KernelTable& table() { return kernels_for(Device::simt, DType::bf16); }

/// Elements in the simulator's memory.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::int64_t count) : Buffer(as<T>(uniform(count, 1))) {}
  explicit Buffer(const std::vector<T>& values) : data_(memory().allocate(values.size() * sizeof(T))) {
    memory().upload({}, data_, values.data(), values.size() * sizeof(T));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { memory().release(data_); }
  T* get() const { return static_cast<T*>(data_); }

 private:
  static const DeviceMemory& memory() { return memory_of(Device::simt); }
  void* data_;
};
using Elements = Buffer<BFloat16>;
using Floats = Buffer<float>;

inline Buffer<char> workspace(std::size_t bytes) { return Buffer<char>(std::vector<char>(bytes + 1)); }

inline void convolution(const Conv2dGeometry& g) {
  const Conv2dKernels& conv = table().conv2d;
  const Elements x(g.n * g.h * g.w * g.c), w(g.r * g.s * g.c * g.k), y(g.n * g.p() * g.q() * g.k);
  const Floats dw(g.r * g.s * g.c * g.k);
  conv.fprop({}, g, x.get(), w.get(), {}, y.get(), workspace(conv.workspace_bytes(ConvPass::fprop, g)).get());
  conv.dgrad({}, g, y.get(), w.get(), x.get(), workspace(conv.workspace_bytes(ConvPass::dgrad, g)).get());
  conv.wgrad({}, g, x.get(), y.get(), dw.get(), workspace(conv.workspace_bytes(ConvPass::wgrad, g)).get());
}

inline void batch_norm(const BatchNormGeometry& g) {
  const BatchNormKernels& kernels = table().batch_norm;
  const std::int64_t n = g.rows * g.channels;
  const Elements x(n), y(n), dy(n), dx(n);
  const Floats gamma(g.channels), beta(g.channels), mean(g.channels), inv_std(g.channels), running_mean(g.channels),
      running_var(g.channels), dgamma(g.channels), dbeta(g.channels);
  const Buffer<char> scratch = workspace(kernels.workspace_bytes(g));
  const BatchNormForward forward{x.get(), gamma.get(), beta.get(), nullptr, /*relu=*/true, 1e-5, y.get()};
  kernels.forward_train({}, g, forward, 0.1, mean.get(), inv_std.get(), running_mean.get(), running_var.get(),
                        scratch.get());
  kernels.backward_train({}, g,
                         {x.get(), y.get(), dy.get(), gamma.get(), beta.get(), mean.get(), inv_std.get(),
                          /*relu=*/true, dx.get(), dgamma.get(), dbeta.get(), nullptr},
                         scratch.get());
}

inline void max_pool(const Pool2dGeometry& g) {
  const Elements x(g.n * g.h * g.w * g.c), y(g.n * g.p() * g.q() * g.c);
  const Buffer<std::int32_t> index(std::vector<std::int32_t>(static_cast<std::size_t>(g.n * g.p() * g.q() * g.c)));
  table().pool.max_forward({}, g, x.get(), y.get(), index.get());
  table().pool.max_backward({}, g, y.get(), index.get(), x.get());
}

inline void average_pool(const AdaptivePoolGeometry& g) {
  const Elements x(g.n * g.h * g.w * g.c), y(g.n * g.p * g.q * g.c);
  table().pool.adaptive_forward({}, g, x.get(), y.get());
  table().pool.adaptive_backward({}, g, y.get(), x.get());
}

inline void elementwise(std::int64_t n) {
  const Elements a(n), b(n), y(n);
  const Floats f(n);
  table().elementwise.add({}, n, a.get(), b.get(), y.get());
  table().elementwise.relu_backward({}, n, a.get(), b.get(), y.get());
  table().elementwise.convert({}, n, DType::f32, f.get(), DType::bf16, y.get());
}

inline void loss(Rows rows, SoftLoss which) {
  const LossKernels& kernels = table().loss;
  const std::int64_t n = rows.rows * rows.classes;
  const Elements z(n), v(n), dz(n);
  const Floats out(3);
  const Buffer<std::int64_t> labels(integers<std::int64_t>(rows.rows, 1, 0, static_cast<int>(rows.classes) - 1));
  const HardTargets hard{.labels = labels.get()};
  kernels.distillation({}, rows, {.temperature = 4, .lambda = 0.1, .loss = which}, hard, z.get(), v.get(), out.get(),
                       dz.get(), workspace(kernels.workspace_bytes(rows)).get());
}

inline void optimizers(std::int64_t n) {
  const Floats w(n), g(n), m(n), v(n);
  const Buffer<StepScalars> scalars(std::vector<StepScalars>{{.lr = 0.1, .step = 2}});
  const std::vector<ParameterStep> steps = {{n, w.get(), g.get(), m.get(), v.get()}};
  table().optimizer.sgd({}, steps, {0.9, 5e-4, false}, scalars.get());
  table().optimizer.adam({}, steps, {}, scalars.get());
}

}  // namespace retort::test
