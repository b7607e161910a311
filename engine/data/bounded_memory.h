// Memory for a decoder that trusts its input: every byte is zero at first, and there is only so much of it.
#pragma once

#include <cstddef>

namespace retort::decoder {

/// What this thread's decoder may still allocate, in bytes, and whether it asked for more.
struct Budget {
  std::size_t left = 0;
  bool exceeded = false;
};
Budget& budget();

/// As malloc, realloc and free; null where the budget is spent. What is freed comes back to the budget.
void* allocate(std::size_t bytes);
void* reallocate(void* memory, std::size_t bytes);
void release(void* memory);

}  // namespace retort::decoder
