// What is said once a command begins its work, so that an error before that is the only line.
#pragma once

#include <string>

namespace retort {

/// One line on stderr, unless quiet, before the first line of say() (tools/cli/progress.h) or when catch_interrupts()
/// is called.
void say_at_work(bool quiet, const std::string& line);

}  // namespace retort
