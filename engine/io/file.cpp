#include "engine/io/file.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/memory_limit.h"
#include "engine/io/descriptor.h"
#include "engine/io/read_access.h"

namespace retort {
namespace {

// Takes the outcome of a system call and reads errno after it; arguments of one call have no order.
void check_read(bool ok, const std::string& path) {
  if (!ok) throw Error(text(path, ": cannot read: ", reason(errno), "; check the path and its permissions"));
}

/// A pipe or a device is refused before its first byte: it may have no last one, and opening it must not wait.
Descriptor open_for_reading(const std::string& path, std::uint64_t& size) {
  Descriptor file(open_to_read(path.c_str()));
  check_read(file.get() >= 0, path);
  FileStatus status;
  check_read(status_of(file.get(), status), path);
  check(status.kind != FileKind::folder, path, ": cannot read: it is a folder; give a path to a file");
  check(status.kind == FileKind::regular, path, ": cannot read: not a regular file; give a path to a file");
  size = status.size;
  return file;
}

/// Reads until `bytes` are full or the file ends; returns how many were read.
std::size_t read_at(int descriptor, std::uint64_t offset, std::span<std::uint8_t> bytes, const std::string& path) {
  std::size_t used = 0;
  while (used < bytes.size()) {
    const std::size_t wanted = std::min<std::size_t>(bytes.size() - used, 1u << 30);
    const std::int64_t got = read_from(descriptor, bytes.data() + used, wanted, offset + used);
    if (got < 0 && errno == EINTR) continue;
    check_read(got >= 0, path);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  return used;
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path), file_(open_for_reading(path, size_)) {}

InputFile::InputFile(const std::string& path, std::uint64_t offset, std::uint64_t size) : InputFile(path) {
  check(offset <= size_ && size <= size_ - offset, path, ": ends at byte ", size_, " where ", size, " bytes from byte ",
        offset, " on were expected; copy or download it again");
  begin_ = offset;
  size_ = size;
}

void InputFile::read(std::uint64_t offset, std::span<std::uint8_t> bytes) const {
  offset += begin_;
  const std::size_t got = read_at(file_.get(), offset, bytes, path_);
  if (got == bytes.size()) return;
  FileStatus now;  // the offset may lie beyond the end of a file that was cut short
  const std::uint64_t size = status_of(file_.get(), now) ? now.size : offset + got;
  throw Error(text(path_, ": ends at byte ", std::min(offset + got, size),
                   " where more was expected; copy or download it again"));
}

std::vector<std::uint8_t> read_file(const std::string& path) {
  std::uint64_t size = 0;
  const Descriptor file = open_for_reading(path, size);
  const MemoryLimit limit = memory_limit();
  check(size <= limit.bytes, path, ": has ", human_bytes(size), ", which are read whole, where ", limit.origin,
        " allows ", human_bytes(limit.bytes), "; give another file");
  std::vector<std::uint8_t> bytes(size);
  bytes.resize(read_at(file.get(), 0, bytes, path));
  return bytes;
}

std::vector<std::uint8_t> read_text_file(const std::string& path) {
  const InputFile file(path);
  check(file.size() <= kMaxTextBytes, path, ": has ", file.size(), " bytes, and a text that is read whole at most ",
        kMaxTextBytes, "; split it");
  std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(file.size(), 4096));
  file.read(0, bytes);
  check(std::ranges::find(bytes, 0) == bytes.end(), path, ": not a text: it has zero bytes; give another file");
  const std::size_t first = bytes.size();
  bytes.resize(file.size());
  file.read(first, std::span(bytes).subspan(first));
  return bytes;
}

std::vector<std::uint8_t> read_maybe_gzip(const std::string& path) {
  std::vector<std::uint8_t> packed = read_file(path);
  const auto is_gzip = [&](std::size_t at) {
    return packed.size() >= at + 2 && packed[at] == 0x1f && packed[at + 1] == 0x8b;
  };
  if (!is_gzip(0)) return packed;

  constexpr int kGzipOnly = 15 + 16;  // the largest window, and a gzip header rather than zlib's
  z_stream stream{};
  check(inflateInit2(&stream, kGzipOnly) == Z_OK, path, ": cannot inflate: out of memory; free some memory");
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};

  const std::size_t bound = packed.size() * kMaxInflation + kFreeInflation;
  std::vector<std::uint8_t> plain(packed.size() * 4 + 65536);
  std::size_t in = 0, out = 0;
  while (true) {
    check(out < bound, path, ": its ", packed.size(), " bytes inflate to more than ", bound,
          "; unpack it with gunzip if it is what it should be");
    if (out == plain.size()) plain.resize(std::min(plain.size() * 2, bound));
    // zlib counts in 32 bits.
    constexpr std::size_t kMaxBytes = std::numeric_limits<uInt>::max();
    const auto available_in = static_cast<uInt>(std::min(packed.size() - in, kMaxBytes));
    const auto available_out = static_cast<uInt>(std::min(plain.size() - out, kMaxBytes));
    stream.next_in = packed.data() + in;
    stream.avail_in = available_in;
    stream.next_out = plain.data() + out;
    stream.avail_out = available_out;
    const int status = inflate(&stream, Z_NO_FLUSH);
    in += available_in - stream.avail_in;
    out += available_out - stream.avail_out;
    if (status == Z_STREAM_END) {
      if (in == packed.size()) break;
      // A gzip file may be several, one after the other.
      check(is_gzip(in), path, ": gzip data is followed by something else; copy or download it again");
      inflateReset(&stream);
      continue;
    }
    check(status == Z_OK || status == Z_BUF_ERROR, path, ": gzip data is corrupt (",
          stream.msg ? stream.msg : "unknown", "); copy or download it again");
    check(in < packed.size() || stream.avail_out == 0, path, ": gzip data is cut short; copy or download it again");
  }
  plain.resize(out);
  return plain;
}

}  // namespace retort
