// The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/), read in place and written: a
// message is a run of fields, and a field is a number and either an integer, 4 or 8 bytes, or a length and so many
// bytes, which may be a message again. Nothing is copied or allocated, and nothing nests on its own: who wants a
// field's message reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace retort {

struct ProtoField {
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;              ///< of a varint, or the bits of a fixed32 or fixed64
  std::span<const std::uint8_t> bytes;  ///< of Wire::bytes

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  std::int64_t integer() const { return static_cast<std::int64_t>(value); }
  float real() const;
};

/// Reads a message's fields one by one.
class ProtoReader {
 public:
  /// `where` begins its messages: the file, and what the message is. Both outlive the reader.
  ProtoReader(std::span<const std::uint8_t> message, const std::string& where) : left_(message), where_(where) {}
  /// False at the end. Throws Error for a field that reaches beyond the message, an integer of more than 64 bits and a
  /// wire type that there is not, groups (unused since 2008) included.
  bool next(ProtoField& field);

 private:
  std::uint64_t take_varint();
  std::span<const std::uint8_t> take(std::uint64_t bytes);

  std::span<const std::uint8_t> left_;
  const std::string& where_;
};

/// A message while it is written, field by field; itself the content of a field of another.
class ProtoWriter {
 public:
  ProtoWriter& integer(std::uint32_t number, std::int64_t value);
  ProtoWriter& real(std::uint32_t number, float value);
  ProtoWriter& real64(std::uint32_t number, double value);
  ProtoWriter& bytes(std::uint32_t number, std::string_view content);
  ProtoWriter& message(std::uint32_t number, const ProtoWriter& content) { return bytes(number, content.text()); }
  /// What stands before so many bytes of a field that the caller writes.
  ProtoWriter& begin_bytes(std::uint32_t number, std::uint64_t size);

  const std::string& text() const { return text_; }

 private:
  void varint(std::uint64_t value);
  void key(std::uint32_t number, ProtoField::Wire wire);

  std::string text_;
};

}  // namespace retort
