#include "tools/cli/flags.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/config.h"

namespace retort {
namespace {

/// A rule for numbers that were given as a word, and its words.
template <class Number, class Rule>
Allowed number_that(std::string expected, Rule holds) {
  return Allowed([expected = std::move(expected), holds](const std::string& word) -> std::string {
    Number value{};
    const bool number = CLI::detail::lexical_cast(word, value);
    if (number && holds(value)) return {};
    return text(number ? word : "'" + word + "'", " is not allowed; give ", expected);
  });
}

void as_list(CLI::Option& option, const char* name, bool splits) {
  option.multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (*name == '-')
    option.allow_extra_args(false);  // not the arguments that follow
  else
    option.configurable(false);  // the arguments themselves
  if (*name == '-' && splits) option.delimiter(',');
}

std::string with_list(std::string help, const std::string& list) {
  const std::size_t place = help.find("{}");
  return place == std::string::npos ? help : help.replace(place, 2, list);
}

}  // namespace

Allowed anything() { return Allowed({}); }

Allowed whole_words(Allowed allowed) {
  allowed.splits_ = false;
  return allowed;
}

Allowed required(Allowed allowed, bool yes) {
  allowed.required_ = yes;
  return allowed;
}

Allowed whole_number(std::int64_t low, std::int64_t high) {
  const bool bounded = high != std::numeric_limits<std::int64_t>::max();
  return number_that<std::int64_t>(text("a whole number from ", low, bounded ? text(" to ", high) : ""),
                                   [=](std::int64_t value) { return value >= low && value <= high; });
}

Allowed number_above(double bound) {
  return number_that<double>(text("a number above ", bound),
                             [=](double value) { return value > bound && std::isfinite(value); });
}

Allowed number_from(double bound) {
  return number_that<double>(text("a number from ", bound),
                             [=](double value) { return value >= bound && std::isfinite(value); });
}

Allowed finite_number() {
  return number_that<double>("a finite number", [](double value) { return std::isfinite(value); });
}

Allowed number_in(const std::string& interval) {
  double low = 0, high = 0;
  check(std::sscanf(interval.c_str(), "%*[[(]%lf, %lf", &low, &high) == 2, interval, ": is no interval");
  const bool with_low = interval.front() == '[', with_high = interval.back() == ']';
  return number_that<double>("a number in " + interval, [=](double value) {
    return (with_low ? value >= low : value > low) && (with_high ? value <= high : value < high);
  });
}

Allowed file_name(const char* ending) {
  return Allowed([ending](const std::string& word) {
    return word.empty() || word.ends_with(ending) ? "" : text("'", word, "' is not a ", ending, " file; name one");
  });
}

std::string exact(double value) { return nlohmann::json(value).dump(); }

std::string plain(double value) {
  std::string digits = text(value);
  return std::stod(digits) == value ? digits : exact(value);
}

std::string joined(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ",") + word;
  return list;
}

std::string flag_text(const std::vector<double>& value) {
  return value.empty() ? "" : nlohmann::ordered_json(value).dump();
}

AddFlags::AddFlags(CLI::App& program) : command_(program) {
  command_.set_version_flag("--version", "retort " RETORT_VERSION);
}

AddFlags::AddFlags(CLI::App& parent, const char* name, const char* description)
    : AddFlags(*parent.add_subcommand(name, description)) {
  // The application reads the file once it knows the command: hand the path up to it as soon as it is seen.
  CLI::App* app = &parent;
  while (app->get_parent() != nullptr) app = app->get_parent();
  command_
      .add_option_function<std::string>(
          "--config",
          [app](const std::string& path) {
            check_config_file(path);
            if (app->get_config_ptr() != nullptr) app->get_config_ptr()->add_result(path);
          },
          "TOML file of flags, keys = flag names; flags win")
      ->trigger_on_parse()
      ->configurable(false)
      ->type_name("FILE");
}

template <class Member>
void AddFlags::operator()(const char* name, Member& member, const std::string& help, const Allowed& allowed,
                          const Bits&) const {
  if constexpr (std::is_same_v<Member, bool>) {
    finish(*command_.add_flag(name, member, help), allowed);
  } else {
    CLI::Option& option = *command_.add_option(name, member, help);
    if constexpr (is_list<Member>) as_list(option, name, allowed.splits());
    bool shown = !is_optional<Member>;
    if constexpr (is_list<Member> || std::is_same_v<Member, std::string>) shown = !member.empty();
    if (shown) option.capture_default_str();
    finish(option, allowed);
  }
}

#define RETORT_MEMBER(...) \
  template void AddFlags::operator()(const char*, __VA_ARGS__&, const std::string&, const Allowed&, const Bits&) const;
RETORT_MEMBER(bool)
RETORT_MEMBER(int)
RETORT_MEMBER(std::int64_t)
RETORT_MEMBER(std::uint64_t)
RETORT_MEMBER(double)
RETORT_MEMBER(std::string)
RETORT_MEMBER(std::optional<int>)
RETORT_MEMBER(std::optional<std::int64_t>)
RETORT_MEMBER(std::optional<double>)
RETORT_MEMBER(std::optional<std::string>)
RETORT_MEMBER(std::vector<std::int64_t>)
RETORT_MEMBER(std::vector<std::uint64_t>)
RETORT_MEMBER(std::vector<double>)
RETORT_MEMBER(std::vector<std::string>)
#undef RETORT_MEMBER

void AddFlags::on_run(std::function<void()> run) const { command_.callback(std::move(run)); }

void AddFlags::add_choice(const char* name, const std::function<void(const std::string&)>& take,
                          const std::string& help, const std::string& list, const std::string& shown,
                          const Allowed& allowed) const {
  CLI::Option& option = *command_.add_option_function<std::string>(name, take, with_list(help, list));
  if (!shown.empty()) option.default_str(shown);
  finish(option, allowed);
}

void AddFlags::finish(CLI::Option& option, const Allowed& allowed) const {
  if (!subject_.empty()) option.group(subject_);
  option.required(allowed.required());
  option.check(CLI::Validator([allowed](std::string& word) { return allowed.refusal(word); }, ""), kRowValidator);
}

}  // namespace retort
