#include "engine/io/json.h"

#include <nlohmann/json.hpp>

namespace retort {

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace retort
