// The errors that Retort throws. A message is one line: what is at fault, what was expected, what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace retort {

/// Data, files or the machine are at fault; the program ends with status 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line is at fault; the program ends with status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Concatenates its arguments as operator<< prints them. Throws std::bad_alloc where memory ends, which a stream by
/// itself would keep quiet about, cutting the text short.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  stream.exceptions(std::ios::badbit);
  (stream << ... << parts);
  return stream.str();
}

/// What a message offers: "a", "a or b", "a, b or c".
inline std::string alternatives(const std::vector<std::string>& words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i)
    list += (i == 0 ? "" : i + 1 < words.size() ? ", " : " or ") + words[i];
  return list;
}

/// Throws Error with the concatenated parts unless ok.
template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) [[unlikely]]
    throw Error(text(parts...));
}

}  // namespace retort
