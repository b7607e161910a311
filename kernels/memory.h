// The memory of a device, for those who hold buffers: where kernels run, what is allocated, and copies to and from the
// host. Copies and kernels on one stream run in the order in which they were asked for.
#pragma once

#include <cstddef>

#include "kernels/types.h"

namespace retort {

struct DeviceMemory {
  /// True where work goes on after the call that asked for it. The simulator's does not, but is used as if it did.
  bool asynchronous;
  /// Aligned to 256 bytes, contents undefined. Throws std::bad_alloc when there is no more.
  Required<void*(std::size_t bytes)> allocate;
  /// Bytes that nobody has allocated, this process or another; 0 where that is not known: on the CPU, and in the
  /// simulator unless it is told (kernels/simt/simulator.h). Throws std::runtime_error where CUDA's driver fails.
  Required<std::size_t()> free_bytes;
  /// Null is allowed. Work that was asked for before still finds the memory.
  Required<void(void* memory)> release;
  /// host may be changed as soon as the call returns; device holds its bytes for all later work on the stream.
  Required<void(Stream, void* device, const void* host, std::size_t bytes)> upload;
  /// Waits until host holds what all earlier work on the stream left in device.
  Required<void(Stream, void* host, const void* device, std::size_t bytes)> download;
  Required<void(Stream, void* target, const void* source, std::size_t bytes)> copy;
  /// Waits for all work on the stream.
  Required<void(Stream)> synchronize;

  /// Host memory that the device reaches by itself: begin_download into it does not hold up the CPU. One thread at a
  /// time.
  Required<void*(std::size_t bytes)> allocate_host;
  Required<void(void* memory)> release_host;
  /// As download, but returns at once: host holds the bytes when a mark recorded afterwards has been waited for.
  Required<void(Stream, void* host, const void* device, std::size_t bytes)> begin_download;
  /// A mark behind all work asked for so far; wait_mark waits until the device gets there, and ends the mark.
  Required<void*(Stream)> record_mark;
  Required<void(void* mark)> wait_mark;

  /// From begin_capture to end_capture kernels and copies are not run but written down, as a graph that replay runs any
  /// number of times with one call, on the same addresses. Nothing may wait for the device in between. Throws
  /// std::invalid_argument for devices without graphs.
  Required<void(Stream)> begin_capture;
  Required<void*(Stream)> end_capture;
  Required<void(Stream, void* graph)> replay;
  Required<void(void* graph)> release_graph;
};

/// True if this build has the device and this machine can run it.
bool device_available(Device device);
/// Why not; an empty string if it is.
const char* device_missing(Device device);

/// Throws std::invalid_argument for a device that this build lacks, std::runtime_error with CUDA's text where its
/// driver will not start.
const DeviceMemory& memory_of(Device device);

/// "cpu", "reference", "cuda", "simt"
const char* to_string(Device device);

}  // namespace retort
