#include "tools/cli/visible.h"

#include <cstdio>
#include <iostream>
#include <sstream>
#include <utility>

namespace retort {
namespace {

std::streambuf* raw_err = nullptr;  // where std::cerr wrote before

std::string escaped(const char* form, unsigned value) {
  char text[16];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

/// How many bytes a character of UTF-8 has that begins so; 0: none begins so.
std::size_t sequence_length(unsigned char lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/// The code point of a whole sequence.
unsigned decode(const std::string& sequence) {
  unsigned code = static_cast<unsigned char>(sequence[0]) & (0xFFu >> (sequence.size() + 1));
  for (std::size_t i = 1; i < sequence.size(); ++i) code = code << 6 | (static_cast<unsigned char>(sequence[i]) & 0x3F);
  return code;
}

/// C1 controls, which terminals obey like an escape sequence, and the marks that turn the direction of text.
bool steers(unsigned code) {
  return code < 0xA0 || (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::streambuf::int_type VisibleBuffer::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  return put(static_cast<unsigned char>(c)) ? c : traits_type::eof();
}

std::streamsize VisibleBuffer::xsputn(const char* text, std::streamsize count) {
  std::string visible;
  collected_ = &visible;
  for (std::streamsize i = 0; i < count; ++i) put(static_cast<unsigned char>(text[i]));
  collected_ = nullptr;
  return emit(visible) ? count : 0;
}

int VisibleBuffer::sync() { return out_.pubsync(); }

bool VisibleBuffer::emit(const std::string& text) {
  if (collected_) {
    *collected_ += text;
    return true;
  }
  const auto size = static_cast<std::streamsize>(text.size());
  return out_.sputn(text.data(), size) == size;
}

bool VisibleBuffer::put(unsigned char byte) {
  if (!sequence_.empty() && (byte & 0xC0) == 0x80) {
    sequence_ += static_cast<char>(byte);
    return sequence_.size() < expected_ || end_sequence();
  }
  if (!sequence_.empty() && !end_sequence()) return false;
  if (byte >= 0x80) {
    expected_ = sequence_length(byte);
    if (expected_ == 0) return emit(escaped("\\x%02x", byte));
    sequence_ = static_cast<char>(byte);
    return true;
  }
  if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) return emit(escaped("\\u%04x", byte));
  return emit(std::string(1, static_cast<char>(byte)));
}

bool VisibleBuffer::end_sequence() {
  const std::string sequence = std::exchange(sequence_, {});
  if (sequence.size() < expected_) {
    std::string bytes;
    for (const char c : sequence) bytes += escaped("\\x%02x", static_cast<unsigned char>(c));
    return emit(bytes);
  }
  const unsigned code = decode(sequence);
  return emit(steers(code) ? escaped("\\u%04x", code) : sequence);
}

VisibleOutput::VisibleOutput()
    : plain_out_(std::cout.rdbuf()), plain_err_(std::cerr.rdbuf()), out_(*plain_out_), err_(*plain_err_) {
  std::cout.rdbuf(&out_);
  std::cerr.rdbuf(&err_);
  raw_err = plain_err_;
}

VisibleOutput::~VisibleOutput() {
  std::cout.rdbuf(plain_out_);
  std::cerr.rdbuf(plain_err_);
  raw_err = nullptr;
}

std::string visible_name(const std::string& name) {
  std::stringbuf shown;
  VisibleBuffer buffer(shown);
  std::ostream stream(&buffer);
  for (const char c : name)
    if (c == '\n' || c == '\t')
      stream << escaped("\\u%04x", static_cast<unsigned char>(c));
    else
      stream << c;
  return shown.str();
}

std::ostream& raw_stderr() {
  static std::ostream stream(nullptr);
  stream.rdbuf(raw_err ? raw_err : std::cerr.rdbuf());
  return stream;
}

std::string shortened(const std::string& message) {
  constexpr std::size_t kEnd = 1000;
  if (message.size() <= 2 * kEnd) return message;
  return message.substr(0, kEnd) + " [...] " + message.substr(message.size() - kEnd);
}

}  // namespace retort
