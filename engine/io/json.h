// JSON as text, whatever bytes its strings hold, and JSON from files that anybody may have written.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace retort {

/// One line of JSON, or with an indent several. Bytes that are not UTF-8, which a file's name may hold, become U+FFFD:
/// nlohmann's own dump() throws there, and would lose the work that the text reports. Json: nlohmann's, of either
/// order.
template <class Json>
std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

/// How deep arrays and objects may lie within each other: no file of ours goes beyond four, and nlohmann's own
/// functions recurse.
inline constexpr int kMaxJsonDepth = 32;

/// Parses a file's JSON in time proportional to its size (and to the logarithm of an object's), at most kMaxJsonDepth
/// deep. Throws Error, its message beginning with `where` and ending with `hint`, for what is no JSON, goes deeper, or
/// has a key twice, of which nlohmann would keep the last.
nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& hint);

/// As parse_json, with none in place of an Error.
std::optional<nlohmann::json> try_parse_json(std::string_view text);

/// Whether JSON can hold a text as it is.
bool is_utf8(const std::string& text);

}  // namespace retort
