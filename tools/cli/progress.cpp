#include "tools/cli/progress.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <utility>
#include <vector>

#include "tools/cli/at_work.h"
#include "tools/cli/terminal.h"
#include "tools/cli/visible.h"

namespace retort {
namespace {

constexpr int kBarWidth = 20;

/// "0:42", "1:05:00"
std::string duration(double seconds) {
  const auto total = std::llround(std::min(seconds, 359999.0));
  char text[32];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60, total % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld", total / 60, total % 60);
  return text;
}

std::vector<std::string> waiting_lines;

void say_waiting() {
  for (const std::string& line : std::exchange(waiting_lines, {})) std::cerr << line << std::endl;
}

static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets this");
std::atomic<bool> interrupt_flag{false};

}  // namespace

Progress::Progress(std::string label, std::int64_t total, bool quiet)
    : label_(std::move(label)),
      total_(total),
      active_(!quiet && total > 0 && is_terminal(Output::error)),
      start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (active_ && first_ >= 0) raw_stderr() << "\r\033[K" << std::flush;
}

void Progress::update(std::int64_t done, const std::string& note) {
  if (!active_) return;
  const auto now = std::chrono::steady_clock::now();
  if (first_ < 0)
    first_ = done;
  else if (now - drawn_ < std::chrono::milliseconds(100) && done < total_)
    return;
  drawn_ = now;

  const int filled = static_cast<int>(std::clamp<std::int64_t>(done * kBarWidth / total_, 0, kBarWidth));
  std::string line = label_ + " [" + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "] " +
                     std::to_string(done) + "/" + std::to_string(total_);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (done > first_ && seconds > 0) {
    const double rate = static_cast<double>(done - first_) / seconds;
    char text[32];
    std::snprintf(text, sizeof text, rate < 10 ? "  %.2f/s" : "  %.0f/s", rate);
    line += text;
    if (!note.empty()) line += "  " + note;
    line += "  " + duration(static_cast<double>(total_ - done) / rate) + " left";
  } else if (!note.empty()) {
    line += "  " + note;
  }
  raw_stderr() << "\r\033[K" << std::flush;
  std::cerr << line.substr(0, static_cast<std::size_t>(std::max(1, terminal_columns(Output::error) - 1))) << std::flush;
}

std::string duration_words(double seconds) {
  const auto whole = [&](double unit) { return static_cast<long long>(std::llround(seconds / unit)); };
  if (seconds < 90) return std::to_string(whole(1)) + (whole(1) == 1 ? " second" : " seconds");
  if (seconds < 90 * 60) return std::to_string(whole(60)) + " minutes";
  const long long minutes = whole(60), hours = minutes / 60;
  if (hours >= 48) return std::to_string(whole(24 * 3600)) + " days";
  return std::to_string(hours) + " h " + std::to_string(minutes % 60) + " min";
}

void say_at_work(bool quiet, const std::string& line) {
  if (!quiet) waiting_lines.push_back(line);
}

void say(bool quiet, const std::string& line) {
  if (quiet) return;
  say_waiting();
  std::cerr << visible_name(line) << std::endl;
}

void catch_interrupts() {
  say_waiting();
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_flag.store(true); };
  action.sa_flags = SA_RESTART | SA_RESETHAND;  // the default action is back for the second signal
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGXCPU}) sigaction(signal, &action, nullptr);
  // nohup ignores a terminal that hangs up, and so does what it starts.
  struct sigaction before {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

bool interrupted() { return interrupt_flag.load(); }

}  // namespace retort
