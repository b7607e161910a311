// The buffers that kernels may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace retort::simt {

struct Extent {
  std::uintptr_t begin = 0, end = 0;
};

/// The live buffer that holds all of [address, address + bytes); an empty extent if none does. `hint` is tried first.
Extent find_buffer(std::uintptr_t address, std::size_t bytes, Extent hint);

/// Where an address lies that no buffer holds: "8 bytes past the end of a buffer of 64 bytes".
std::string describe_address(std::uintptr_t address);

/// Changes with every allocate() and release(): an Extent found before is stale.
std::uint64_t buffers_version();

}  // namespace retort::simt
