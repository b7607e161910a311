#include "engine/io/pickle_text.h"

#include <charconv>
#include <cstdint>
#include <cstring>

namespace retort::pickle {
namespace {

bool append_utf8(std::string& text, std::uint32_t code) {
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
  return true;
}

/// Reads exactly `digits` hexadecimal digits at the front of `text` and drops them.
std::optional<std::uint32_t> take_hex(std::string_view& text, std::size_t digits) {
  std::uint32_t value = 0;
  if (text.size() < digits) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value, 16);
  if (error != std::errc() || end != text.data() + digits) return {};
  text.remove_prefix(digits);
  return value;
}

}  // namespace

std::optional<std::string> unescape_repr(std::string_view literal) {
  if (literal.size() < 2 || (literal[0] != '\'' && literal[0] != '"') || literal.back() != literal[0]) return {};
  std::string bytes;
  for (std::string_view rest = literal.substr(1, literal.size() - 2); !rest.empty();) {
    const char c = rest[0];
    rest.remove_prefix(1);
    if (c != '\\') {
      bytes += c;
      continue;
    }
    if (rest.empty()) return {};
    const char escape = rest[0];
    rest.remove_prefix(1);
    switch (escape) {
      case '\\':
      case '\'':
      case '"': bytes += escape; break;
      case 'n': bytes += '\n'; break;
      case 'r': bytes += '\r'; break;
      case 't': bytes += '\t'; break;
      case 'x': {
        const auto code = take_hex(rest, 2);
        if (!code) return {};
        bytes += static_cast<char>(*code);
        break;
      }
      default: return {};
    }
  }
  return bytes;
}

std::optional<std::string> unescape_raw_unicode(std::string_view escaped) {
  std::string text;
  while (!escaped.empty()) {
    const char c = escaped[0];
    escaped.remove_prefix(1);
    std::uint32_t code = static_cast<std::uint8_t>(c);
    if (c == '\\' && (escaped.starts_with('u') || escaped.starts_with('U'))) {
      const std::size_t digits = escaped[0] == 'u' ? 4 : 8;
      escaped.remove_prefix(1);
      const auto value = take_hex(escaped, digits);
      if (!value) return {};
      code = *value;
    }
    if (!append_utf8(text, code)) return {};
  }
  return text;
}

std::optional<std::string> utf8_to_latin1(std::string_view utf8) {
  std::string bytes;
  bytes.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<std::uint8_t>(utf8[i]);
    if (lead < 0x80) {
      bytes += utf8[i];
      continue;
    }
    // U+0080 to U+00FF: 110000ab 10cdefgh.
    if ((lead != 0xc2 && lead != 0xc3) || i + 1 == utf8.size()) return {};
    const auto next = static_cast<std::uint8_t>(utf8[++i]);
    if ((next & 0xc0) != 0x80) return {};
    bytes += static_cast<char>((lead & 3) << 6 | (next & 0x3f));
  }
  return bytes;
}

std::optional<std::string> utf32_to_utf8(std::string_view utf32) {
  if (utf32.size() % 4 != 0) return {};
  std::string text;
  for (std::size_t i = 0; i < utf32.size(); i += 4) {
    std::uint32_t code;
    std::memcpy(&code, utf32.data() + i, 4);
    if (!append_utf8(text, code)) return {};
  }
  text.erase(text.find_last_not_of('\0') + 1);
  return text;
}

}  // namespace retort::pickle
