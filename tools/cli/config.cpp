#include "tools/cli/config.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/core/check.h"
#include "engine/io/file.h"

namespace retort {
namespace {

/// True if the section is a command of the application ({"bench", "conv"}).
bool is_command(const CLI::App* app, const std::vector<std::string>& section) {
  for (const std::string& name : section) {
    const auto commands = app->get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
    if (commands.empty()) return false;
    app = commands.front();
  }
  return true;
}

/// Throws UsageError where another flag names the file of flags: --log would write over it.
void refuse_as_value(const std::string& config, const CLI::App& command, const std::vector<CLI::ConfigItem>& items) {
  const auto refuse = [&](const std::string& flag, const std::vector<std::string>& values) {
    std::error_code error;
    for (const std::string& value : values)
      if (std::filesystem::equivalent(value, config, error))
        throw UsageError(text(flag, ": ", value, " is the file of --config; give another file"));
  };
  for (const CLI::Option* option : command.get_options())
    if (option->get_configurable()) refuse(option->get_name(), option->results());
  for (const CLI::ConfigItem& item : items) refuse("--" + item.name, item.inputs);
}

}  // namespace

std::vector<const CLI::App*> command_chain(const CLI::App& app) {
  std::vector<const CLI::App*> chain;
  for (const CLI::App* command = &app; !command->get_subcommands().empty();) {
    command = command->get_subcommands().front();
    chain.push_back(command);
  }
  return chain;
}

void check_config_file(const std::string& path) {
  constexpr std::uint64_t kMaxBytes = 1 << 18;
  try {
    const InputFile file(path);
    check(file.size() <= kMaxBytes, path, ": has ", file.size(), " bytes, and a file of flags at most ", kMaxBytes,
          "; give another file");
  } catch (const Error& error) {
    throw Error(text("--config: ", error.what()));
  }
}

std::vector<CLI::ConfigItem> CommandConfig::from_config(std::istream& input) const {
  const std::vector<const CLI::App*> chain = command_chain(app_);
  if (chain.empty()) return {};
  std::vector<std::string> path;
  for (const CLI::App* command : chain) path.push_back(command->get_name());

  std::vector<CLI::ConfigItem> items;
  for (CLI::ConfigItem& item : CLI::ConfigTOML::from_config(input)) {
    if (item.name == "++" || item.name == "--") continue;  // a section opens or closes
    if (!is_command(&app_, item.parents))
      throw UsageError("--config: [" + CLI::detail::join(item.parents, ".") +
                       "]: no such command; sections are named " + "after commands, e.g. [" +
                       CLI::detail::join(path, ".") + "]");
    if (!item.parents.empty() && item.parents != path) continue;
    const CLI::Option* option = chain.back()->get_option_no_throw("--" + item.name);
    if (option == nullptr || !option->get_configurable())
      throw UsageError("--config: key '" + item.name + "': no flag of `" + CLI::detail::join(path, " ") +
                       "`; keys of another command go under [command]");
    item.parents = path;
    items.push_back(std::move(item));
  }
  for (const std::string& config : app_.get_config_ptr()->results()) refuse_as_value(config, *chain.back(), items);
  return items;
}

}  // namespace retort
