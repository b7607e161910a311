#include "engine/io/npz.h"

#include <zlib.h>

#include <limits>

#include "engine/core/check.h"
#include "engine/io/npy.h"

namespace retort {
namespace {

/// Little-endian numbers and text, as APPNOTE.TXT lays its records out.
class Record {
 public:
  Record& number(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> 8 * i);
    return *this;
  }
  Record& text(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  std::span<const std::uint8_t> bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size()};
  }
  std::uint64_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
};

struct Member {
  std::string name;
  std::uint64_t offset = 0, bytes = 0;
  std::uint32_t checksum = 0;

  /// What the entry before the content and the one in the directory have in common; the time is the first there is.
  void describe(Record& record) const {
    constexpr std::uint64_t kVersion = 20, kUtf8 = 1 << 11, kStored = 0, kFirstDay = 1 << 5 | 1;
    record.number(kVersion, 2).number(kUtf8, 2).number(kStored, 2).number(0, 2).number(kFirstDay, 2);
    record.number(checksum, 4).number(bytes, 4).number(bytes, 4).number(name.size(), 2).number(0, 2);
  }
};

}  // namespace

void write_npz(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& arrays) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max(), kMostArrays = 65534;
  std::vector<Member> members;
  std::uint64_t size = 0;
  for (const auto& [name, tensor] : arrays) {
    Member member{name + ".npy", size, 0, 0};
    uLong checksum = crc32(0, nullptr, 0);
    const auto take = [&](std::span<const std::uint8_t> bytes) {
      member.bytes += bytes.size();
      checksum = crc32_z(checksum, bytes.data(), bytes.size());
    };
    write_npy(take, tensor, path);
    member.checksum = static_cast<std::uint32_t>(checksum);
    constexpr std::uint64_t kLocal = 30, kEntry = 46;
    size += kLocal + kEntry + 2 * member.name.size() + member.bytes;
    members.push_back(std::move(member));
  }
  check(size < kMost && members.size() <= kMostArrays, path, ": ", members.size(), " arrays take ", size,
        " bytes, and a .npz has fewer than ", kMost, ": use the .safetensors file itself");
  write_atomic(path, [&](const ByteSink& sink) {
    constexpr std::uint32_t kLocal = 0x04034b50, kEntry = 0x02014b50, kEnd = 0x06054b50;
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      Member& member = members[i];
      member.offset = at;
      Record local;
      local.number(kLocal, 4);
      member.describe(local);
      local.text(member.name);
      sink(local.bytes());
      write_npy(sink, arrays[i].second, path);
      at += local.size() + member.bytes;
    }
    Record directory;
    for (const Member& member : members) {
      directory.number(kEntry, 4).number(20, 2);
      member.describe(directory);
      // No comment, disk 0, attributes of none.
      directory.number(0, 2).number(0, 2).number(0, 2).number(0, 4).number(member.offset, 4).text(member.name);
    }
    Record end;
    end.number(kEnd, 4).number(0, 4).number(members.size(), 2).number(members.size(), 2);
    end.number(directory.size(), 4).number(at, 4).number(0, 2);
    sink(directory.bytes());
    sink(end.bytes());
  });
}

}  // namespace retort
