// How a program ends: its exit status, and the one line that an error is.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace retort {

inline constexpr int kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130;

/// Says `message` on stderr, as `who`, and returns the status.
using Report = std::function<int(const std::string& who, const std::string& message, int status)>;

/// Report of a program that is one process: one line.
int say_error(const std::string& who, std::string message, int status);

/// The status of `work`, which parses the command line and does what it says: what it throws is reported, and so is a
/// stdout that took not all.
int outcome(CLI::App& app, const std::function<void()>& work, const Report& report);

}  // namespace retort
