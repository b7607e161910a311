// JSON as text, whatever bytes its strings hold.
#pragma once

#include <string>

namespace retort {

/// One line of JSON, or with an indent several. Bytes that are not UTF-8, which a file's name may hold, become U+FFFD:
/// nlohmann's own dump() throws there, and would lose the work that the text reports. Json: nlohmann's, of either
/// order.
template <class Json>
std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

/// Whether JSON can hold a text as it is.
bool is_utf8(const std::string& text);

}  // namespace retort
