// The tables of the CUDA kernels: compiled for the device, and for the simulator.
#pragma once

#include "kernels/memory.h"
#include "kernels/table.h"

namespace retort::cuda {

const KernelTable& table_f32();
/// f32 whose products round their operands to tf32 (10 bits of mantissa) and run on tensor cores.
const KernelTable& table_tf32();
const KernelTable& table_bf16();
const DeviceMemory& memory();
/// An empty string if CUDA's driver finds a device, else CUDA's text.
const char* unavailable();
/// "NVIDIA H200", ...: of the device in use.
const char* device_name();

}  // namespace retort::cuda

namespace retort::simt {

const KernelTable& table_f32();
const KernelTable& table_tf32();
const KernelTable& table_bf16();
const DeviceMemory& memory();

}  // namespace retort::simt
