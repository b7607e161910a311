// Zip archives as far as files of weights need them: members that are stored as they are, found by the directory at the
// end (PKWARE's APPNOTE.TXT, ZIP64 included).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"

namespace retort {

class ZipFile {
 public:
  struct Member {
    std::string name;
    std::uint64_t offset = 0, bytes = 0;  ///< of its content
    bool stored = true;                   ///< not compressed
  };
  /// Reads the file. Throws Error naming it: no directory, members that overlap or reach beyond the file, a name twice,
  /// more than 2^20 of them, encryption.
  explicit ZipFile(const std::string& path);

  const std::vector<Member>& members() const { return members_; }
  /// Null if there is none.
  const Member* find(std::string_view name) const;
  /// The content of a member that is stored; Error otherwise.
  std::span<const std::uint8_t> content(const Member& member) const;

 private:
  std::string path_;
  std::vector<std::uint8_t> bytes_;
  std::vector<Member> members_;
};

}  // namespace retort
