// The simulator: runs CUDA kernels on the CPU, to find their bugs where no GPU is.
//
// A kernel's source compiles a second time for the host (see dev_simt.h). Every CUDA thread is a fiber; a block runs on
// one OS thread and its fibers take turns, in an order drawn from a seed, at barriers and warp operations. The compiler
// is told to announce every load and store of kernel code (-fsanitize=thread, whose entry points instrument.cpp
// defines), so that each is checked without a word in the kernel:
//   - global memory: inside a live buffer of allocate(), aligned to the access;
//   - shared memory: inside what the block has, and ordered by a barrier after every conflicting access of another
//     thread (FastTrack, Flanagan & Freund, PLDI 2009, with a clock per warp);
//   - asynchronous copies: land as late as the waits allow; nobody may touch their target before.
// Fresh shared and global memory holds NaN. A divergent barrier, a deadlock or a mask that names an absent lane stops
// the launch. What it cannot see is listed in docs/simulator.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/threads.h"

namespace retort::simt {

/// A defect in a kernel: the message names kernel, block, thread, what was done and the last barrier passed.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// Of the order in which threads and blocks run. A kernel is right only if its results do not depend on it.
void set_seed(std::uint64_t seed);
std::uint64_t seed();

/// Memory that kernels may touch, aligned to 256 bytes, every byte 0xFF: floating-point NaN. Throws std::bad_alloc.
void* allocate(std::size_t bytes);
/// Null is allowed.
void release(void* buffer) noexcept;

/// What the simulated device says of its free memory (DeviceMemory::free_bytes), which no buffer changes: 0, the
/// default, is that it does not know.
void set_free_memory(std::size_t bytes);
std::size_t free_memory();

/// The most shared memory a block may have, static and dynamic together: that of sm_90.
inline constexpr std::size_t kSharedBytes = 227 * 1024;

/// The compute capability of the simulated device, 80 (default) or 90: which kernels the tables choose.
void set_compute_capability(int capability);
int compute_capability();
/// Of the simulated device: few, so that a block of a persistent kernel makes several tiles; an H200's while launches
/// are sampled.
int multiprocessors();

/// Of each launch from here on only so many blocks run, one drawn from each of as many parts of its grid, and counts
/// are scaled to the whole grid (kernels/simt/counters.h): for launches too large to be run. 0, the default: all run.
/// Results are undefined, so launches that nobody counts do nothing, tensor cores make no products, and memory that is
/// allocated meanwhile holds zeros, which take room only where they are written over.
void sample_launches(std::int64_t blocks);
std::int64_t sampled_blocks();

/// Between begin_capture and end_capture, work is kept instead of done. Throws Error if a capture is under way (or
/// none).
void begin_capture();
std::vector<std::function<void()>> end_capture();
bool capturing();
/// Keeps work for the capture under way.
void keep(std::function<void()> work);

/// Runs body once for every thread of every block. Throws Error, after which the buffers' contents are undefined, or
/// std::invalid_argument for a geometry that no GPU takes.
void launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_shared_bytes, FunctionRef<void()> body);

}  // namespace retort::simt
