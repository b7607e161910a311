// What was typed, and when: for a report.
#pragma once

#include <string>

namespace retort {

/// Called once, by main.
void note_command_line(int argc, const char* const* argv);
/// As a shell would take it again.
const std::string& command_line();
/// "2026-03-01 17:05 UTC", of the start.
std::string start_date();
/// Since the start.
double seconds_running();

}  // namespace retort
