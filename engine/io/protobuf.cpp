#include "engine/io/protobuf.h"

#include <cstring>

#include "engine/core/check.h"

namespace retort {

float ProtoField::real() const {
  const auto bits = static_cast<std::uint32_t>(value);
  float number = 0;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

std::span<const std::uint8_t> ProtoReader::take(std::uint64_t bytes) {
  check(bytes <= left_.size(), where_, ": a field of ", bytes, " bytes where ", left_.size(),
        " are left, expected a whole protobuf message; copy or export the file again");
  const auto taken = left_.first(static_cast<std::size_t>(bytes));
  left_ = left_.subspan(static_cast<std::size_t>(bytes));
  return taken;
}

std::uint64_t ProtoReader::take_varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    const std::uint8_t byte = take(1)[0];
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw Error(text(where_, ": an integer of more than 64 bits, expected a protobuf message; export the file again"));
}

bool ProtoReader::next(ProtoField& field) {
  if (left_.empty()) return false;
  const std::uint64_t key = take_varint();
  field = {};
  field.number = static_cast<std::uint32_t>(key >> 3);
  check(key >> 3 >= 1 && key >> 3 < 1 << 29, where_, ": field ", key >> 3,
        ", expected a protobuf message; export the file again");
  switch (key & 7) {
    case 0: field.value = take_varint(); break;
    case 1:
    case 5: {
      const auto bytes = take((key & 7) == 1 ? 8 : 4);
      for (std::size_t i = bytes.size(); i-- > 0;) field.value = field.value << 8 | bytes[i];
      break;
    }
    case 2: field.bytes = take(take_varint()); break;
    default: throw Error(text(where_, ": wire type ", key & 7, ", expected a protobuf message; export the file again"));
  }
  field.wire = static_cast<ProtoField::Wire>(key & 7);
  return true;
}

void ProtoWriter::varint(std::uint64_t value) {
  for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128);
  text_ += static_cast<char>(value);
}

void ProtoWriter::key(std::uint32_t number, ProtoField::Wire wire) {
  varint(std::uint64_t{number} << 3 | static_cast<std::uint64_t>(wire));
}

ProtoWriter& ProtoWriter::integer(std::uint32_t number, std::int64_t value) {
  key(number, ProtoField::Wire::varint);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

ProtoWriter& ProtoWriter::real(std::uint32_t number, float value) {
  key(number, ProtoField::Wire::fixed32);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 4; ++i) text_ += static_cast<char>(bits >> 8 * i);
  return *this;
}

ProtoWriter& ProtoWriter::real64(std::uint32_t number, double value) {
  key(number, ProtoField::Wire::fixed64);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 8; ++i) text_ += static_cast<char>(bits >> 8 * i);
  return *this;
}

ProtoWriter& ProtoWriter::begin_bytes(std::uint32_t number, std::uint64_t size) {
  key(number, ProtoField::Wire::bytes);
  varint(size);
  return *this;
}

ProtoWriter& ProtoWriter::bytes(std::uint32_t number, std::string_view content) {
  begin_bytes(number, content.size());
  text_ += content;
  return *this;
}

}  // namespace retort
