#include "engine/io/npy_header.h"

#include <charconv>
#include <set>
#include <string_view>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr const char* kAgain = "; write it again with numpy.save";
constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint64_t kMaxHeaderBytes = 1 << 20;  // NumPy's own headers take about a hundred

std::string read_text(const InputFile& file, std::uint64_t offset, std::uint64_t bytes) {
  std::string text(bytes, '\0');
  file.read(offset, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  return text;
}

/// Parses the one Python literal that may stand in a header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4),
/// }
class LiteralParser {
 public:
  LiteralParser(std::string_view text, const std::string& path, bool structured)
      : text_(text), path_(path), structured_(structured) {}

  NpyHeader parse() {
    NpyHeader header;
    std::set<std::string> seen;
    expect('{');
    while (!accept('}')) {
      const std::string key = parse_string();
      require(seen.insert(key).second);
      expect(':');
      if (key == "descr")
        header.descr = parse_descr();
      else if (key == "fortran_order")
        header.fortran_order = parse_bool();
      else if (key == "shape")
        header.shape = parse_tuple();
      else
        require(false);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    require(seen.size() == 3 && text_.empty());
    return header;
  }

 private:
  void require(bool ok) const {
    check(ok, path_, ": malformed .npy header near '", printable(), "', expected descr, fortran_order and shape",
          kAgain);
  }

  std::string printable() const {
    std::string near(text_.substr(0, 20));
    for (char& c : near)
      if (c < ' ' || c > '~') c = '?';
    return near;
  }

  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) text_.remove_prefix(1);
  }

  bool accept(char c) {
    skip_space();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }

  bool accept(std::string_view word) {
    skip_space();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  void expect(char c) { require(accept(c)); }

  std::string parse_string() {
    skip_space();
    require(text_.starts_with('\'') || text_.starts_with('"'));
    const std::size_t end = text_.find(text_[0], 1);
    require(end != text_.npos);
    std::string value(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return value;
  }

  std::string parse_descr() {
    skip_space();
    if (!text_.starts_with('[')) return parse_string();
    check(structured_, path_, ": has a structured dtype, expected float32, float64 or int64; save one field");
    const std::size_t end = text_.find(']');
    require(end != text_.npos);
    std::string fields(text_.substr(0, end + 1));
    text_.remove_prefix(end + 1);
    return fields;
  }

  bool parse_bool() {
    if (accept("True")) return true;
    require(accept("False"));
    return false;
  }

  std::vector<std::int64_t> parse_tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
      require(error == std::errc() && value >= 0);
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      values.push_back(value);
      accept('L');  // Python 2's long
      if (!accept(',')) {
        require(values.size() > 1);  // (3) is no tuple
        expect(')');
        break;
      }
    }
    return values;
  }

  std::string_view text_;
  const std::string& path_;
  bool structured_;
};

}  // namespace

NpyHeader read_npy_header(const InputFile& file, const std::string& path, bool structured) {
  check(file.size() >= 10 && read_text(file, 0, kMagic.size()) == kMagic, path, ": not a .npy file", kAgain);
  const std::string preamble = read_text(file, kMagic.size(), 4);
  const auto byte = [&](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(preamble[i])); };
  const std::uint64_t major = byte(0), minor = byte(1);
  check(major >= 1 && major <= 3 && minor == 0, path, ": .npy version ", major, '.', minor,
        ", expected 1.0, 2.0 or 3.0", kAgain);
  // Version 1 gives the header's length in two bytes, later ones in four.
  std::uint64_t length = byte(2) | byte(3) << 8, start = 10;
  if (major > 1) {
    check(file.size() >= 12, path, ": cut short: ends within the .npy header", kAgain);
    const std::string upper = read_text(file, 10, 2);
    length |= static_cast<std::uint64_t>(static_cast<unsigned char>(upper[0])) << 16 |
              static_cast<std::uint64_t>(static_cast<unsigned char>(upper[1])) << 24;
    start = 12;
  }
  check(length <= file.size() - start, path, ": cut short: ends within the .npy header", kAgain);
  check(length <= kMaxHeaderBytes, path, ": malformed .npy header of ", length, " bytes", kAgain);
  const std::string literal = read_text(file, start, length);
  NpyHeader header = LiteralParser(literal, path, structured).parse();
  header.data_at = start + length;
  return header;
}

}  // namespace retort
