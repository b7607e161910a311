// The word that was meant: the nearest of a list, where one is near enough to be a slip of the fingers.
#pragma once

#include <string>
#include <vector>

namespace retort {

/// Letters to insert, remove, replace or exchange with the next one to make one word of the other (Damerau 1964).
std::size_t edit_distance(const std::string& a, const std::string& b);

/// The first nearest word, capitals aside; "" where none is within a third of the word's length (at least one letter),
/// nor the only one that begins with it.
std::string nearest_word(const std::string& word, const std::vector<std::string>& words);

/// "; did you mean train?", or "".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& words);

}  // namespace retort
