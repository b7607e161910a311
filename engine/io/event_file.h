// TensorBoard's event files (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto): a TFRecord of
// one Event each, a protobuf message. A TFRecord is its length in 8 bytes, the length's checksum, the content, and the
// content's checksum; a checksum is CRC-32C (RFC 3720, appendix B.4) rotated right by 15 bits, plus 0xa282ead8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/io/descriptor.h"
#include "engine/io/protobuf.h"

namespace retort {

/// CRC-32C of the bytes.
std::uint32_t crc32c(std::string_view bytes);

/// One value of a Summary message under a tag.
ProtoWriter scalar_value(const std::string& tag, double value);
/// A picture as the bytes of a PNG; `description` is shown beside it.
ProtoWriter image_value(const std::string& tag, const std::string& png, std::int64_t width, std::int64_t height,
                        const std::string& description);
/// What a plugin keeps of a run under a tag of its own: no number, but the plugin's message.
ProtoWriter plugin_value(const std::string& tag, const std::string& plugin, const ProtoWriter& content);

/// A file of a folder's that grows by whole records and that TensorBoard reads meanwhile.
class EventFile {
 public:
  /// A new file in `folder`, which is created where it is missing. What earlier files say from `first_step` on is taken
  /// back: a run that is done again, or resumed, has no second curve. Throws Error naming the path and the system's
  /// reason; so does add().
  EventFile(const std::string& folder, std::int64_t first_step);
  /// `summary`: a Summary message, whose field 1 is each of the values above.
  void add(std::int64_t step, const ProtoWriter& summary);
  const std::string& path() const { return path_; }

 private:
  void append(std::string_view event);

  std::string path_;
  Descriptor file_;
};

}  // namespace retort
