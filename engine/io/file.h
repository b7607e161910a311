// Whole-file reading, and writing that is all or nothing: a temporary name beside the target, fsync, rename.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// Throws Error naming the file and the system's reason.
std::vector<std::uint8_t> read_file(const std::string& path);
/// As read_file, and inflates gzip content. Throws Error on a stream cut short or corrupt.
std::vector<std::uint8_t> read_maybe_gzip(const std::string& path);

/// Receives bytes in order.
using ByteSink = std::function<void(std::span<const std::uint8_t>)>;
/// Writes path by way of a temporary file; on any failure (full disk, folder not writable) removes that and throws
/// Error naming the path. Creates missing parent folders.
void write_atomic(const std::string& path, const std::function<void(const ByteSink&)>& writer);
void write_atomic(const std::string& path, std::span<const std::uint8_t> bytes);
void write_atomic(const std::string& path, const std::string& text);

/// Throws Error if a file could not be written at path later: its folder (created if missing) must take a file. For a
/// command to call before hours of work.
void check_writable(const std::string& path);

/// 64-bit FNV-1a-derived content hash as 16 hex digits.
std::string content_hash(std::span<const std::uint8_t> bytes);

}  // namespace retort
