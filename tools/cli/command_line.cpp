#include "tools/cli/command_line.h"

#include <chrono>
#include <ctime>
#include <filesystem>

namespace retort {
namespace {

std::string line;
const auto start = std::chrono::steady_clock::now();
const std::time_t start_time = std::time(nullptr);

/// In single quotes where a shell would see more than a word.
std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%^";
  if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace

void note_command_line(int argc, const char* const* argv) {
  line = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "";
  for (int i = 1; i < argc; ++i) line += " " + shell_word(argv[i]);
}

const std::string& command_line() { return line; }

std::string start_date() {
  std::tm utc{};
  gmtime_r(&start_time, &utc);
  char digits[32];
  std::strftime(digits, sizeof digits, "%Y-%m-%d %H:%M UTC", &utc);
  return digits;
}

double seconds_running() { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }

}  // namespace retort
