#include "tools/cli/help.h"

#include <algorithm>
#include <functional>

#include "engine/core/check.h"
#include "engine/core/nearest.h"
#include "tools/cli/config.h"

namespace retort {
namespace {

/// "--out, -o" of an option that the help lists.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

bool listed(const CLI::Option& option) { return !option.get_group().empty() && !names_of(option).empty(); }

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : command.get_options())
    if (listed(*option))
      for (const std::string& name : names_of(*option)) flags.push_back(name);
  return flags;
}

/// Calls f with each command and its path: "train", "bench conv".
void for_each_command(const CLI::App& app, const std::string& above,
                      const std::function<void(const std::string&, const CLI::App&)>& f) {
  for (const CLI::App* command : commands_of(app)) {
    const std::string path = above + (above.empty() ? "" : " ") + command->get_name();
    f(path, *command);
    for_each_command(*command, path, f);
  }
}

/// The help's text with the default, on one line.
std::string explained(const CLI::Option& option) {
  std::string help = option.get_description();
  std::ranges::replace(help, '\n', ' ');
  if (!option.get_default_str().empty()) help += " (default: " + option.get_default_str() + ")";
  if (option.get_required()) help += " (required)";
  return help;
}

std::string words(const std::vector<std::string>& list) {
  std::string line;
  for (const std::string& word : list) line += (line.empty() ? "" : " ") + word;
  return line;
}

std::string replaced(std::string text, char from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, 1, to);
  return text;
}

std::vector<std::string> names_of_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  return names;
}

std::string bash_completions(const CLI::App& app) {
  std::string script =
      "# bash completions of retort: source this file, or put it into the folder of bash-completion.\n"
      "_retort() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} path= i\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  const auto cases = [&](const std::string& path, const CLI::App&) {
    script += "      ' " + path + "') path=' " + path + "' ;;\n";
  };
  for_each_command(app, "", cases);
  script += "    esac\n  done\n  local words=\n  case $path in\n    '') words='" + words(names_of_commands(app)) + " " +
            words(flags_of(app)) + "' ;;\n";
  for_each_command(app, "", [&](const std::string& path, const CLI::App& command) {
    script += "    ' " + path + "') words='" + words(names_of_commands(command)) +
              (commands_of(command).empty() ? "" : " ") + words(flags_of(command)) + "' ;;\n";
  });
  return script +
         "  esac\n"
         "  if [[ $word == -* || $COMP_CWORD == 1 ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  else\n"
         "    COMPREPLY=($(compgen -W \"${words%%-*}\" -- \"$word\") $(compgen -f -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _retort retort\n";
}

std::string quoted(const std::string& text) { return replaced(text, '\'', "'\\''"); }

std::string zsh_completions(const CLI::App& app) {
  // Brackets and colons have a meaning of their own in a specification.
  const auto spec = [](std::string text) {
    text = replaced(text, '[', "(");
    text = replaced(text, ']', ")");
    return quoted(replaced(text, ':', "\\:"));
  };
  std::string script =
      "#compdef retort\n# zsh completions of retort: put this file into a folder of $fpath as _retort.\n"
      "_retort() {\n  local path= word\n  for word in ${words[2,CURRENT-1]}; do\n    case \"$path $word\" in\n";
  for_each_command(app, "", [&](const std::string& path, const CLI::App&) {
    script += "      ' " + path + "') path=' " + path + "' ;;\n";
  });
  script += "    esac\n  done\n  local -a commands flags\n  case $path in\n";
  const auto entry = [&](const std::string& path, const CLI::App& command) {
    script += "    '" + path + "')\n      commands=(";
    for (const CLI::App* inner : commands_of(command))
      script += "\n        '" + inner->get_name() + ":" + spec(inner->get_description()) + "'";
    script += ")\n      flags=(";
    for (const CLI::Option* option : command.get_options())
      if (listed(*option))
        for (const std::string& name : names_of(*option))
          script += "\n        '" + name + ":" + spec(explained(*option)) + "'";
    script += ") ;;\n";
  };
  entry("", app);
  for_each_command(app, "", [&](const std::string& path, const CLI::App& command) { entry(" " + path, command); });
  return script +
         "  esac\n"
         "  if [[ ${words[CURRENT]} == -* ]]; then\n    _describe -o flag flags\n"
         "  else\n    _describe command commands\n    _files\n  fi\n}\n_retort \"$@\"\n";
}

std::string fish_completions(const CLI::App& app) {
  std::string script = "# fish completions of retort: put this file into ~/.config/fish/completions.\n";
  const auto text_of = [](const std::string& text) { return replaced(replaced(text, '\\', "\\\\"), '\'', "\\'"); };
  const auto entry = [&](const std::string& path, const CLI::App& command) {
    std::string condition = path.empty() ? "__fish_use_subcommand" : "";
    for (const std::string& word : CLI::detail::split(path, ' '))
      if (!word.empty()) condition += (condition.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + word);
    for (const CLI::App* inner : commands_of(command))
      script += "complete -c retort -n '" + condition + "' -a " + inner->get_name() + " -d '" +
                text_of(inner->get_description()) + "'\n";
    for (const CLI::Option* option : command.get_options()) {
      if (!listed(*option)) continue;
      script += "complete -c retort -n '" + condition + "'";
      for (const std::string& name : option->get_lnames()) script += " -l " + name;
      for (const std::string& name : option->get_snames()) script += " -s " + name;
      if (option->get_expected_max() > 0 && option->get_type_size() > 0) script += " -r";
      script += " -d '" + text_of(explained(*option)) + "'\n";
    }
  };
  entry("", app);
  for_each_command(app, "", entry);
  return script;
}

/// A line that roff takes as text.
std::string roff(std::string text) {
  text = replaced(replaced(text, '\\', "\\e"), '-', "\\-");
  return text.starts_with('.') || text.starts_with('\'') ? "\\&" + text : text;
}

}  // namespace

std::string meant(const CLI::App& app, const std::string& word) {
  const std::vector<const CLI::App*> chain = command_chain(app);
  const CLI::App& command = chain.empty() ? app : *chain.back();
  if (word.starts_with("-")) return did_you_mean(word.substr(0, word.find('=')), flags_of(command));
  std::vector<std::string> words = names_of_commands(command);
  // A flag without its dashes: retort train model=resnet50.
  for (const std::string& flag : flags_of(command))
    if (flag.starts_with("--") && flag.substr(2) == word.substr(0, word.find('='))) words.push_back(flag);
  const std::string bare = word.substr(0, word.find('='));
  for (const std::string& candidate : words)
    if (candidate == "--" + bare) return "; did you mean " + candidate + "?";
  return did_you_mean(word, words);
}

std::string completions(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return bash_completions(app);
  if (shell == "zsh") return zsh_completions(app);
  if (shell == "fish") return fish_completions(app);
  throw UsageError("--completions: '" + shell + "' is not known; give bash, zsh or fish");
}

std::string man_page(const CLI::App& app) {
  std::string page =
      ".TH RETORT 1 \"\" \"retort " RETORT_VERSION "\" \"User commands\"\n.SH NAME\nretort \\- " +
      roff(app.get_description()) +
      "\n.SH SYNOPSIS\n.B retort\n.I command\n[\\fIflags\\fR]\n.SH EXIT STATUS\n0 done, 1 failed on data, "
      "files or the machine, 2 wrong usage, 130 interrupted.\n.SH COMMANDS\n";
  for_each_command(app, "", [&](const std::string& path, const CLI::App& command) {
    page += ".SS retort " + roff(path) + "\n" + roff(command.get_description()) + "\n";
    for (const std::string& group : command.get_groups()) {
      if (group.empty()) continue;
      bool headed = false;
      for (const CLI::Option* option : command.get_options()) {
        if (option->get_group() != group || !listed(*option)) continue;
        if (!headed) page += ".PP\n.I " + roff(group) + "\n";
        headed = true;
        std::string names;
        for (const std::string& name : names_of(*option)) names += (names.empty() ? "" : ", ") + name;
        page += ".TP\n.B " + roff(names) + "\n" + roff(explained(*option)) + "\n";
      }
    }
    if (!command.get_footer().empty()) page += ".PP\n.nf\n" + roff(command.get_footer()) + "\n.fi\n";
  });
  return page;
}

std::string help_of(CLI::App& app, const std::vector<std::string>& words) {
  CLI::App* command = &app;
  std::string above = app.get_name();
  for (const std::string& word : words) {
    const auto found = command->get_subcommands([&](const CLI::App* inner) { return inner->get_name() == word; });
    if (found.empty()) {
      const std::string near = did_you_mean(word, names_of_commands(*command));
      throw UsageError("help: '" + word + "' is no command" + (near.empty() ? "; retort help lists them" : near));
    }
    if (command != &app) above += " " + command->get_name();
    command = found.front();
  }
  // App::help would speak of the command that was chosen, which is help itself.
  return command->get_formatter()->make_help(command, command == &app ? above : above + " " + command->get_name(),
                                             CLI::AppFormatMode::Normal);
}

}  // namespace retort
