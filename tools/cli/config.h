// --config FILE: a TOML file of flags, keys = flag names. Keys at the top level, or under [command] ([bench.conv] for a
// nested one), set the flags of the command that runs; a flag on the command line wins. Sections of other commands are
// left alone, so that one file can hold a whole project.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace retort {

/// The commands that the command line named, outermost first: {bench, conv}.
std::vector<const CLI::App*> command_chain(const CLI::App& app);

/// Throws Error unless the file is a regular one, of no more than a file of flags can have: CLI11 would wait for a
/// pipe, read a device for ever, and take a time that is quadratic in a list.
void check_config_file(const std::string& path);

/// Sends the file's keys to the command that runs. Throws UsageError naming a key that is no flag of it, or a section
/// that is no command.
class CommandConfig : public CLI::ConfigTOML {
 public:
  explicit CommandConfig(const CLI::App& app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  const CLI::App& app_;
};

}  // namespace retort
