#include "engine/core/nearest.h"

#include <algorithm>
#include <cctype>

namespace retort {
namespace {

std::string lower(std::string word) {
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

}  // namespace

std::size_t edit_distance(const std::string& a, const std::string& b) {
  // rows[i][j]: of the first i letters of a and j of b.
  std::vector<std::vector<std::size_t>> rows(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      std::size_t& at = rows[i][j];
      if (i == 0 || j == 0) {
        at = i + j;
        continue;
      }
      at = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) at = std::min(at, rows[i - 2][j - 2] + 1);
    }
  return rows[a.size()][b.size()];
}

std::string nearest_word(const std::string& word, const std::vector<std::string>& words) {
  const std::string wanted = lower(word);
  std::string nearest, completed;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1, completions = 0;
  for (const std::string& candidate : words) {
    const std::string known = lower(candidate);
    if (const std::size_t distance = edit_distance(wanted, known); distance < least) {
      least = distance;
      nearest = candidate;
    }
    if (wanted.find_first_not_of('-') != wanted.npos && known.starts_with(wanted)) {
      ++completions;
      completed = candidate;
    }
  }
  return completions == 1 && least > 0 ? completed : nearest;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& words) {
  const std::string nearest = nearest_word(word, words);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

}  // namespace retort
