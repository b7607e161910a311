// A tensor that a backward step reads, kept as cheaply as it can be: where its op can compute the elements once more
// from other tensors that stay alive anyway (batch norm: from its input), only the way to do so is kept.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "engine/core/tensor.h"

namespace retort {

struct Recomputation {
  /// Gives the elements again, to the same bits. Empty once the op's own backward step has run: nobody asks after that.
  std::function<Tensor()> run;
};

class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& tensor)
      : tensor_(tensor.recomputation() ? Tensor() : tensor.detached()), recomputation_(tensor.recomputation()) {}

  /// Takes the tensor out, computing it here if it was not kept.
  Tensor take() {
    Tensor tensor = recomputation_ ? recomputation_->run() : std::move(tensor_);
    recomputation_ = {};
    tensor_ = {};
    return tensor;
  }

 private:
  Tensor tensor_;
  std::shared_ptr<Recomputation> recomputation_;
};

}  // namespace retort
