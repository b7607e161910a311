#include "engine/io/zip.h"

#include <algorithm>
#include <set>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr std::uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50, kEntry = 0x02014b50,
                        kLocal = 0x04034b50;
constexpr std::uint64_t kMaxMembers = 1 << 20, kMaxComment = 65535, kEndBytes = 22;

/// Little-endian numbers at any place of a file; Error beyond its end.
class Numbers {
 public:
  Numbers(std::span<const std::uint8_t> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  std::uint64_t at(std::uint64_t offset, int width) const {
    const auto taken = part(offset, static_cast<std::uint64_t>(width));
    std::uint64_t value = 0;
    for (std::size_t i = taken.size(); i-- > 0;) value = value << 8 | taken[i];
    return value;
  }
  std::span<const std::uint8_t> part(std::uint64_t offset, std::uint64_t bytes) const {
    check(offset <= bytes_.size() && bytes <= bytes_.size() - offset, path_,
          ": its zip directory reaches beyond the file, expected a whole archive; copy or download it again");
    return bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  }
  std::uint64_t size() const { return bytes_.size(); }

 private:
  std::span<const std::uint8_t> bytes_;
  const std::string& path_;
};

struct Directory {
  std::uint64_t offset = 0, count = 0;
};

Directory find_directory(const Numbers& in, const std::string& path) {
  check(in.size() >= kEndBytes, path, ": is too short for a zip archive; copy or download it again");
  const std::uint64_t first = in.size() - kEndBytes, last = first > kMaxComment ? first - kMaxComment : 0;
  for (std::uint64_t at = first + 1; at-- > last;) {
    if (in.at(at, 4) != kEnd) continue;
    Directory found{in.at(at + 16, 4), in.at(at + 10, 2)};
    if (at >= 20 && in.at(at - 20, 4) == kLocator64) {
      const std::uint64_t end = in.at(at - 12, 8);
      check(in.at(end, 4) == kEnd64, path, ": its zip directory is damaged; copy or download it again");
      found = {in.at(end + 48, 8), in.at(end + 32, 8)};
    }
    check(found.count <= kMaxMembers, path, ": claims ", found.count, " members, expected at most ", kMaxMembers,
          "; copy or download it again");
    return found;
  }
  throw Error(text(path, ": its zip directory is missing, expected a whole archive; copy or download it again"));
}

/// A directory entry's size or offset: what does not fit 32 bits stands in an extra field, in this order.
struct Wide {
  const Numbers& in;
  std::uint64_t at, end;

  std::uint64_t or_extra(std::uint64_t value) {
    if (value != 0xFFFFFFFF || at + 8 > end) return value;
    at += 8;
    return in.at(at - 8, 8);
  }
};

Wide wide_fields(const Numbers& in, std::uint64_t extra, std::uint64_t bytes) {
  for (std::uint64_t at = extra; at + 4 <= extra + bytes;) {
    const std::uint64_t id = in.at(at, 2), size = in.at(at + 2, 2);
    if (id == 1) return {in, at + 4, std::min(at + 4 + size, extra + bytes)};
    at += 4 + size;
  }
  return {in, 0, 0};
}

}  // namespace

ZipFile::ZipFile(const std::string& path) : path_(path), bytes_(read_file(path)) {
  const Numbers in(bytes_, path_);
  const Directory directory = find_directory(in, path_);
  std::set<std::string> names;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    check(in.at(at, 4) == kEntry, path_, ": its zip directory is damaged; copy or download it again");
    const std::uint64_t flags = in.at(at + 8, 2), method = in.at(at + 10, 2), name_bytes = in.at(at + 28, 2),
                        extra_bytes = in.at(at + 30, 2), comment_bytes = in.at(at + 32, 2);
    const auto name = in.part(at + 46, name_bytes);
    Member member{std::string(name.begin(), name.end()), 0, 0, method == 0};
    Wide wide = wide_fields(in, at + 46 + name_bytes, extra_bytes);
    const std::uint64_t unpacked = wide.or_extra(in.at(at + 24, 4)), packed = wide.or_extra(in.at(at + 20, 4)),
                        local = wide.or_extra(in.at(at + 42, 4));
    check((flags & 1) == 0, path_, ": its member ", member.name, " is encrypted; save it without a password");
    check(!member.stored || packed == unpacked, path_, ": its member ", member.name,
          " says two sizes; copy or download it again");
    check(in.at(local, 4) == kLocal, path_, ": its member ", member.name,
          " is not where the directory says; copy or download it again");
    member.offset = local + 30 + in.at(local + 26, 2) + in.at(local + 28, 2);
    member.bytes = packed;
    in.part(member.offset, member.bytes);
    check(names.insert(member.name).second, path_, ": has two members called ", member.name, "; save it again");
    members_.push_back(std::move(member));
    at += 46 + name_bytes + extra_bytes + comment_bytes;
  }
  std::vector<const Member*> sorted;
  for (const Member& member : members_)
    if (member.bytes > 0) sorted.push_back(&member);
  std::ranges::sort(sorted, {}, &Member::offset);
  for (std::size_t i = 1; i < sorted.size(); ++i)
    check(sorted[i]->offset - sorted[i - 1]->offset >= sorted[i - 1]->bytes, path_, ": its members ",
          sorted[i - 1]->name, " and ", sorted[i]->name, " overlap; copy or download it again");
}

const ZipFile::Member* ZipFile::find(std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &Member::name);
  return found == members_.end() ? nullptr : &*found;
}

std::span<const std::uint8_t> ZipFile::content(const Member& member) const {
  check(member.stored, path_, ": its member ", member.name, " is compressed, expected it as it is; save it again");
  return std::span<const std::uint8_t>(bytes_).subspan(static_cast<std::size_t>(member.offset),
                                                       static_cast<std::size_t>(member.bytes));
}

}  // namespace retort
