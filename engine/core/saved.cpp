#include "engine/core/saved.h"

namespace retort {
namespace {

thread_local KeepScope* scope = nullptr;

}  // namespace

KeepScope::KeepScope(bool keep) : keep_(keep), previous_(std::exchange(scope, this)) {}

KeepScope::~KeepScope() { scope = previous_; }

Saved::Saved(const Tensor& tensor) : recomputation_(tensor.recomputation()) {
  if (recomputation_ && scope) {
    scope->bytes_ += tensor.bytes();
    if (scope->keep_) recomputation_ = {};
  }
  if (!recomputation_) tensor_ = tensor.detached();
}

}  // namespace retort
