#include "engine/io/event_file.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "engine/core/check.h"

namespace retort {
namespace {

// Field numbers of event.proto, summary.proto, tensor.proto.
enum Event : std::uint32_t { wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7 };
enum Value : std::uint32_t { tag = 1, simple_value = 2, image = 4, tensor = 8, metadata = 9 };
enum Image : std::uint32_t { height = 1, width = 2, colorspace = 3, encoded = 4 };
enum Metadata : std::uint32_t { plugin_data = 1, summary_description = 3 };
constexpr std::int64_t kRgb = 3, kSessionStart = 1, kFloat = 1;

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ (remainder & 1 ? 0x82f63b78u : 0u);
    table[byte] = remainder;
  }
  return table;
}();

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

template <class Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof number; ++i) bytes += static_cast<char>(number >> 8 * i);
  return bytes;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

ProtoWriter event() {
  ProtoWriter event;
  event.real64(Event::wall_time, seconds_now());
  return event;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<std::uint8_t>(byte)) & 255];
  return ~crc;
}

ProtoWriter scalar_value(const std::string& tag, double value) {
  ProtoWriter writer;
  writer.bytes(Value::tag, tag).real(Value::simple_value, static_cast<float>(value));
  return writer;
}

ProtoWriter image_value(const std::string& tag, const std::string& png, std::int64_t width, std::int64_t height,
                        const std::string& description) {
  ProtoWriter picture, metadata, writer;
  picture.integer(Image::height, height).integer(Image::width, width).integer(Image::colorspace, kRgb);
  picture.bytes(Image::encoded, png);
  metadata.bytes(Metadata::summary_description, description);
  writer.bytes(Value::tag, tag).message(Value::image, picture).message(Value::metadata, metadata);
  return writer;
}

ProtoWriter plugin_value(const std::string& tag, const std::string& plugin, const ProtoWriter& content) {
  ProtoWriter data, metadata, extent, shape, tensor, writer;
  data.bytes(1, plugin).message(2, content);
  metadata.message(Metadata::plugin_data, data);
  // A value must be something: a tensor of one zero.
  extent.integer(1, 1);
  shape.message(2, extent);
  tensor.integer(1, kFloat).message(2, shape).real(5, 0);
  writer.bytes(Value::tag, tag).message(Value::tensor, tensor).message(Value::metadata, metadata);
  return writer;
}

EventFile::EventFile(const std::string& folder, std::int64_t first_step) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  check(!error, folder, ": cannot write: ", error.message(), "; choose another folder");
  // TensorBoard takes files in the order of their names, and any name that holds "tfevents".
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  path_ = (std::filesystem::path(folder) / text("events.out.tfevents.", nanoseconds / 1000000000, ".retort.",
                                                nanoseconds % 1000000000, ".", ::getpid()))
              .string();
  file_ = Descriptor(open_file(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
  check(file_.get() >= 0, path_, ": cannot write: ", reason(errno), "; choose another folder");
  append(event().bytes(Event::file_version, "brain.Event:2").text());
  ProtoWriter session;
  session.integer(1, kSessionStart);
  append(event().integer(Event::step, first_step).message(Event::session_log, session).text());
}

void EventFile::add(std::int64_t step, const ProtoWriter& summary) {
  append(event().integer(Event::step, step).message(Event::summary, summary).text());
}

void EventFile::append(std::string_view event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  std::string record = length + little_endian(masked(length));
  record += event;
  record += little_endian(masked(event));
  for (std::string_view left = record; !left.empty();) {
    const ssize_t written = retried([&] { return ::write(file_.get(), left.data(), left.size()); });
    check(written > 0, path_, ": cannot write: ", reason(errno), "; free some space and resume");
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace retort
