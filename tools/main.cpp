// The program `retort`: its commands, its exit status, and the one line that an error is.
#include <poll.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/check.h"
#include "engine/group/group.h"
#include "tools/cli/command_line.h"
#include "tools/cli/config.h"
#include "tools/cli/help.h"
#include "tools/cli/progress.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130;

/// "retort bench conv": the program and the commands that were recognised.
std::string command_path(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* command : command_chain(app)) path += " " + command->get_name();
  return path;
}

/// CLI11's message, turned so that it starts with the flag at fault.
std::string usage_message(const CLI::ParseError& error, const CLI::App& app) {
  std::string message = error.what();
  // A mistyped flag is the reason why a required one is missing: name that.
  if (const std::vector<std::string> unknown = app.remaining(/*recurse=*/true); !unknown.empty())
    return unknown.front() + ": unknown argument" + meant(app, unknown.front());
  const std::string convert = "Could not convert: ";
  if (message.starts_with(convert)) {
    message.erase(0, convert.size());
    const std::size_t equals = message.find(" = ");
    if (equals != std::string::npos)
      message = message.substr(0, equals) + ": '" + message.substr(equals + 3) + "' is not a value it can take";
  } else if (message == "A subcommand is required") {
    message = "names no command of its own";
  }
  return message;
}

/// One process of a group says it, and takes the others along.
int report(const std::string& who, std::string message, int status) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  Group& together = group();
  if (together.size() == 1 && launched_rank() > 0) return status;  // they could not join: rank 0 says why
  std::string speaker = who;
  if (!together.is_first()) {
    // What all have to say, rank 0 says before this wait is over.
    std::this_thread::sleep_for(std::chrono::milliseconds(1000 + 200 * together.rank()));
    speaker = text("rank ", together.rank(), ": ", who);
  }
  std::cerr << speaker << ": " << shortened(message) << std::endl;
  if (together.size() > 1) together.abort(status);
  return status;
}

/// Under mpirun: the commands that share their work begin together, and the others are refused.
void begin(const std::string& command) {
  if (launched_processes() <= 1) return;
  constexpr std::string_view kShared[] = {"train", "distill", "logits", "eval", "sweep", "specialists"};
  if (std::ranges::find(kShared, command) == std::end(kShared))
    throw UsageError(text(command, ": runs in one process, and each would do all of the work; leave mpirun out"));
  join_group();
}

/// Whoever read stdout has gone, as `head` does when it has seen enough.
bool reader_gone() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/// The status of a command that is done. A full disk behind stdout must not look like success; nor does a closed pipe,
/// but that is no news to anybody.
int written() {
  if (std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kDone;
  if (reader_gone()) return kFailed;
  return report("retort", "stdout: cannot write; check the disk or the pipe", kFailed);
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
  app.set_config("--config")->group("");
  app.config_formatter(std::make_shared<CommandConfig>(app));
  add_commands(app);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    command->preparse_callback([command](std::size_t) { begin(command->get_name()); });

  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) {
      std::cout << app.help() << std::flush;
      return report("retort", "a command is needed; see the list above", kUsage);
    }
    return written();
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
    return written();
  } catch (const CLI::FileError& error) {
    const std::string message = error.what();  // "FILE was not readable (missing?)"
    const std::string file = message.substr(0, message.find(" was not readable"));
    return report(command_path(app), "--config: " + file + ": cannot read the file; check its path", kFailed);
  } catch (const CLI::ParseError& error) {
    const std::string path = command_path(app);
    return report(path, usage_message(error, app) + "; see " + path + " --help", kUsage);
  } catch (const UsageError& error) {
    return report(command_path(app), error.what(), kUsage);
  } catch (const Interrupted& stopped) {
    if (!stopped.of_all && group().size() > 1) group().abort(kInterrupted);
    return kInterrupted;
  } catch (const std::bad_alloc&) {
    return report("retort", "out of memory; try smaller batches or images", kFailed);
  } catch (const std::filesystem::filesystem_error& error) {
    return report("retort",
                  text(error.path1().string(), ": ", error.code().message(), "; check the path and its permissions"),
                  kFailed);
  } catch (const std::exception& error) {
    return report("retort", error.what(), kFailed);
  }
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): what else comes out is a defect
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
