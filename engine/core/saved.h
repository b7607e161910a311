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

/// While it lives, what this thread saves keeps its elements even where they could be computed again, if `keep`.
class KeepScope {
 public:
  explicit KeepScope(bool keep);
  ~KeepScope();
  KeepScope(const KeepScope&) = delete;
  KeepScope& operator=(const KeepScope&) = delete;
  /// Of the tensors saved meanwhile that could be computed again; one that several steps save counts for each.
  std::size_t bytes() const { return bytes_; }

 private:
  friend class Saved;
  bool keep_;
  std::size_t bytes_ = 0;
  KeepScope* previous_;
};

class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& tensor);

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
