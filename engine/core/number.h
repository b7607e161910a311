// Numbers from text.
#pragma once

#include <optional>
#include <string_view>

namespace retort {

/// The double that the whole text stands for, as std::from_chars reads it: no blanks, no plus sign. None for other text
/// and for what no double holds.
std::optional<double> number_of(std::string_view text);

}  // namespace retort
