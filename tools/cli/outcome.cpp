#include "tools/cli/outcome.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <utility>
#include <vector>

#include "engine/core/check.h"
#include "tools/cli/config.h"
#include "tools/cli/help.h"
#include "tools/cli/progress.h"
#include "tools/cli/terminal.h"
#include "tools/cli/visible.h"

namespace retort {
namespace {

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

/// The status of a command that is done. A full disk behind stdout must not look like success; nor does a closed pipe,
/// but that is no news to anybody.
int written(const CLI::App& app, const Report& report) {
  if (std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kDone;
  if (reader_gone()) return kFailed;
  return report(app.get_name(), "stdout: cannot write; check the disk or the pipe", kFailed);
}

}  // namespace

int say_error(const std::string& who, std::string message, int status) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::cerr << text(who, ": ", shortened(message), "\n") << std::flush;
  return status;
}

int outcome(CLI::App& app, const std::function<void()>& work, const Report& report) {
  try {
    work();
    return written(app, report);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
    return written(app, report);
  } catch (const CLI::ParseError& error) {
    const std::string path = command_path(app);
    return report(path, usage_message(error, app) + "; see " + path + " --help", kUsage);
  } catch (const UsageError& error) {
    return report(command_path(app), error.what(), kUsage);
  } catch (const Interrupted&) {
    return kInterrupted;
  } catch (const std::bad_alloc&) {
    return report(app.get_name(), "out of memory; try smaller batches or images", kFailed);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(app.get_name(),
                  text(error.path1().string(), ": ", error.code().message(), "; check the path and its permissions"),
                  kFailed);
  } catch (const std::exception& error) {
    return report(app.get_name(), error.what(), kFailed);
  }
}

}  // namespace retort
