// The encodings of text within pickles. Each function returns nothing for text that is malformed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace retort::pickle {

/// A quoted Python 2 string literal as repr() prints it, quotes included, to its bytes.
std::optional<std::string> unescape_repr(std::string_view literal);
/// Python's "raw-unicode-escape": Latin-1 with \uXXXX and \UXXXXXXXX, to UTF-8.
std::optional<std::string> unescape_raw_unicode(std::string_view escaped);
/// One byte a character; nothing if a character is beyond U+00FF.
std::optional<std::string> utf8_to_latin1(std::string_view utf8);
/// Little-endian UTF-32, padded with zeros as NumPy stores strings.
std::optional<std::string> utf32_to_utf8(std::string_view utf32);

}  // namespace retort::pickle
