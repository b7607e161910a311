#include "engine/core/number.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>

namespace retort {

std::optional<double> number_of(std::string_view text) {
#ifdef __cpp_lib_to_chars
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
#else
  // LLVM's library reads whole numbers alone. strtod skips blanks, takes a plus sign and hexadecimal digits, and gives
  // an infinity for what is too large.
  if (text.empty() || text.find_first_of(" \t\n\v\f\r+xX") == 0 || text.find_first_of("xX") != text.npos)
    return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  const bool named = copy.find_first_of("nN") != copy.npos;  // "inf", "nan"
  if (end != copy.c_str() + copy.size() || (std::isinf(value) && !named)) return std::nullopt;
  return value;
#endif
}

}  // namespace retort
