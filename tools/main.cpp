// The program `retort`: its commands, and what several processes of it say together.
#include <fcntl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>

#include "engine/core/check.h"
#include "engine/group/group.h"
#include "engine/group/launch.h"
#include "tools/cli/command_line.h"
#include "tools/cli/config.h"
#include "tools/cli/outcome.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

/// One process of a group says it, and takes the others along.
int report(const std::string& who, const std::string& message, int status) {
  Group& together = group();
  std::string speaker = who;
  if (const int rank = launch().rank; rank > 0) {
    // What all have to say, rank 0 says before this wait is over; so it is with why they could not join.
    std::this_thread::sleep_for(std::chrono::milliseconds(1000 + 200 * rank));
    if (together.size() == 1) return status;
    if (interrupted()) together.abort(status);  // the launcher ends the others
    speaker = text("rank ", rank, ": ", who);
  }
  say_error(speaker, message, status);
  if (together.size() > 1) together.abort(status);
  return status;
}

/// One of several processes: the commands that share their work begin together, and the others are refused.
void begin(const std::string& command) {
  if (launch().processes == 1 && launch().fault.empty()) return;
  constexpr std::string_view kShared[] = {"train", "distill", "logits", "eval", "sweep", "specialists"};
  if (std::ranges::find(kShared, command) == std::end(kShared))
    throw UsageError(text(command, ": runs in one process, and each would do all of the work; leave ", launch().by,
                          " out, or unset ", launch().variable));
  join_group();
}

/// Where the caller closed stdin, stdout or stderr, the next files that are opened would be these, and receive what is
/// said. Nothing can be written to what stands there instead, so that a lost stdout is still an error.
void keep_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDONLY));
}

int run(int argc, char** argv) {
  note_command_line(argc, argv);
  // A closed pipe then fails the write, and a command that writes to it cleans up after itself.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // so does a file that may not grow further
  CLI::App app("Knowledge distillation: train a teacher, save its logits, distil them into a student.", "retort");
  app.set_version_flag("--version", "retort " RETORT_VERSION);
  app.require_subcommand(0, 1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // a flag given twice; lists take all
  app.set_config("--config")->group("")->trigger_on_parse()->each(check_config_file);
  app.config_formatter(std::make_shared<CommandConfig>(app));
  add_commands(app);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    command->preparse_callback([command](std::size_t) { begin(command->get_name()); });

  return outcome(
      app,
      [&] {
        try {
          app.parse(argc, argv);
        } catch (const Interrupted& stopped) {
          if (!stopped.of_all && group().size() > 1) group().abort(kInterrupted);
          throw;
        }
        if (!app.get_subcommands().empty()) return;
        std::cout << app.help() << std::flush;
        throw UsageError("a command is needed; see the list above");
      },
      report);
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): what else comes out is a defect
  retort::keep_standard_streams();
  try {
    const retort::VisibleOutput visible;
    const int status = retort::run(argc, argv);
    retort::leave_group();
    return status;
  } catch (const std::bad_alloc&) {  // before the command was known
    std::fputs("retort: out of memory; free some\n", stderr);
    return retort::kFailed;
  }
}
