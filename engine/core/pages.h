// Large pieces of memory, as the system hands them out.
#pragma once

#include <cstddef>

namespace retort {

/// Where pieces begin, and what their sizes are multiples of.
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// A piece of `bytes`, at `hint` if the system can say where and that is free; null if it has none.
std::byte* map_pages(std::byte* hint, std::size_t bytes);
void unmap_pages(std::byte* pages, std::size_t bytes);

}  // namespace retort
