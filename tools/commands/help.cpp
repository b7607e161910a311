// retort help: the help of a command, completions for shells and the man page.
#include <iostream>
#include <memory>

#include "tools/cli/flags.h"
#include "tools/cli/help.h"
#include "tools/commands/commands.h"

namespace retort {
namespace {

struct HelpOptions {
  std::vector<std::string> command;
  std::string completions;
  bool man = false;
};

template <class Visitor>
void visit_flags(HelpOptions& o, Visitor&& flag) {
  flag("COMMAND", o.command, "Command, e.g. distill, or bench conv", anything());
  flag("--completions", o.completions, "Print a completion script for bash, zsh or fish", anything());
  flag("--man", o.man, "Print the man page, in roff", anything());
}

}  // namespace

void add_help_command(CLI::App& app) {
  auto options = std::make_shared<HelpOptions>();
  AddFlags flags(app, "help", "The help of a command, shell completions, the man page");
  visit_flags(*options, flags);
  flags.on_run([options, &app] {
    if (options->man)
      std::cout << man_page(app);
    else if (!options->completions.empty())
      std::cout << completions(app, options->completions);
    else
      std::cout << help_of(app, options->command);
  });
}

}  // namespace retort
