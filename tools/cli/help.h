// Everything that tells of commands and flags beside --help itself: completions for shells, the man page, and what was
// meant by a word that is neither. All are made from the application's own list.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace retort {

/// "; did you mean train?", of an argument that the application's chosen command does not know; or "".
std::string meant(const CLI::App& app, const std::string& word);

/// A completion script: bash, zsh or fish. Throws UsageError for another shell.
std::string completions(const CLI::App& app, const std::string& shell);

/// retort(1), in roff.
std::string man_page(const CLI::App& app);

/// The help of one command, of words such as {"bench", "conv"}; of the program where there are none. Throws UsageError
/// naming a word that is no command.
std::string help_of(CLI::App& app, const std::vector<std::string>& words);

}  // namespace retort
