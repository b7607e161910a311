// A flag is one row: its name, the member that holds it, its help, the values that it takes, and what it has to do with
// the bits of a run. A struct of options has one function that hands its rows to a visitor:
//
//   template <class Visitor>
//   void visit_flags(TrainingOptions& o, Visitor&& flag) {
//     flag("--batch-size", o.batch_size, "Images a step", whole_number(1), bits());
//     ...
//   }
//
// AddFlags visits the rows to make the command line, --config, --help and the checks of values; PrintFlags to make the
// fingerprint of a run. The default is the member's own. A std::optional without a value, an empty text and an empty
// list mean that the flag was not given. Rows of a command that trains must say something of the bits; PrintFlags does
// not compile with one that does not.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/core/check.h"

namespace CLI {  // CLI11, which flags.cpp alone and what reads the application's list of flags include
class App;
class Option;
}  // namespace CLI

namespace retort {

/// The values that a flag takes.
class Allowed {
 public:
  /// `refusal` of a word of the command line: what is wrong with it, or nothing.
  explicit Allowed(std::function<std::string(const std::string& word)> refusal) : refusal_(std::move(refusal)) {}

  std::string refusal(const std::string& word) const { return refusal_ ? refusal_(word) : std::string(); }
  bool required() const { return required_; }
  /// Of a list: whether one word of the command line gives several values, at its commas.
  bool splits() const { return splits_; }

 protected:
  friend Allowed required(Allowed allowed, bool yes);
  friend Allowed whole_words(Allowed allowed);
  std::function<std::string(const std::string&)> refusal_;
  bool required_ = false, splits_ = true;
};

Allowed anything();
/// Without such a flag the command does not run.
Allowed required(Allowed allowed, bool yes = true);
/// Of a list of paths, which may hold commas: the flag is given once for each.
Allowed whole_words(Allowed allowed);
Allowed whole_number(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max());
/// Finite numbers above or from a bound.
Allowed number_above(double bound);
Allowed number_from(double bound);
Allowed finite_number();
/// `interval` as it is shown to the user: "[0, 1)".
Allowed number_in(const std::string& interval);
/// A path that ends so, ".npy"; or none, where it is not required.
Allowed file_name(const char* ending);

/// One of some words, each with the value that it stands for.
template <class Value>
class Choice : public Allowed {
 public:
  explicit Choice(std::vector<std::pair<std::string, Value>> words)
      : Allowed([words](const std::string& word) {
          for (const auto& [known, value] : words)
            if (known == word) return std::string();
          return text("'", word, "' is not known; give ", listed(words));
        }),
        words_(std::move(words)) {}
  Value value_of(const std::string& word) const {
    for (const auto& [candidate, value] : words_)
      if (candidate == word) return value;
    throw UsageError(refusal(word));
  }
  /// Empty for a value that has no word.
  template <class Member>
  std::string word_of(const Member& member) const {
    for (const auto& [word, value] : words_)
      if (member == value) return word;
    return {};
  }
  const std::vector<std::pair<std::string, Value>>& words() const { return words_; }
  /// What stands for {} in the flag's help: the words as a list.
  std::string listed() const { return listed(words_); }

 private:
  static std::string listed(const std::vector<std::pair<std::string, Value>>& words) {
    std::vector<std::string> list;
    list.reserve(words.size());
    for (const auto& [word, value] : words) list.push_back(word);
    return alternatives(list);
  }

  std::vector<std::pair<std::string, Value>> words_;
};

/// Rows of any type that have a `word` and a `value`.
template <class Row, std::size_t n>
auto one_of(const Row (&rows)[n]) {
  std::vector<std::pair<std::string, std::remove_cv_t<decltype(Row::value)>>> words;
  for (const Row& row : rows) words.emplace_back(row.word, row.value);
  return Choice(std::move(words));
}

template <class Value>
struct Word {
  Value value;
  const char* word;
};

/// What a flag has to do with the bits of a run, by which the run's fingerprint is made.
struct Bits {
  enum class Kind : std::uint8_t {
    value,   ///< the value is an entry of the fingerprint, under the flag's name
    entry,   ///< what the value leads to is an entry, which the run makes: the hash of a file, the number of samples
    length,  ///< the value says how long a run goes on: an entry only where a finished run is to be read, not resumed
    none     ///< the same bits, whatever the value
  };
  Kind kind = Kind::none;
  std::optional<std::string> shown = {};  ///< in place of the value
  std::string key = {};                   ///< of an entry or a length
  const char* reason = "";                ///< why it does not matter
  bool in_notes = false;

  /// The value is kept in the student's file too, under the flag's name without dashes, unless it is empty.
  Bits noted() && {
    in_notes = true;
    return std::move(*this);
  }
};

inline Bits bits() { return {Bits::Kind::value}; }
inline Bits bits_as(std::string shown) { return {Bits::Kind::value, std::move(shown)}; }
/// For flags younger than the oldest state that should still resume: the default is an empty entry.
inline Bits bits_unless(bool is_default) { return is_default ? bits_as("") : bits(); }
inline Bits bits_in(std::string entry) { return {Bits::Kind::entry, {}, std::move(entry)}; }
inline Bits length(std::string key) { return {Bits::Kind::length, {}, std::move(key)}; }
inline Bits no_bits(const char* reason) { return {Bits::Kind::none, {}, {}, reason}; }

// ---- How a value is printed: so that it reads back to the same bits.

/// As JSON: 0.02, 4.0.
std::string exact(double value);
/// Without the point of a whole number: 0.02, 4.
std::string plain(double value);
/// Joined by commas.
std::string joined(const std::vector<std::string>& words);

inline std::string flag_text(bool value) { return value ? "on" : "off"; }
inline std::string flag_text(double value) { return exact(value); }
inline std::string flag_text(const std::string& value) { return value; }
inline std::string flag_text(const std::vector<std::string>& value) { return joined(value); }
std::string flag_text(const std::vector<double>& value);
template <class Integer>
requires std::is_integral_v<Integer> std::string flag_text(Integer value) { return std::to_string(value); }
template <class Value>
std::string flag_text(const std::optional<Value>& value) {
  return value ? flag_text(*value) : std::string();
}

template <class Member>
inline constexpr bool is_optional = false;
template <class Value>
inline constexpr bool is_optional<std::optional<Value>> = true;
template <class Member>
inline constexpr bool is_list = false;
template <class Value>
inline constexpr bool is_list<std::vector<Value>> = true;

/// The name of the validator of every option that a row made.
inline constexpr const char* kRowValidator = "row";

/// The subject of the rows that follow while it lives, under which the help lists them, with an example of their use:
///   const FlagSubject subject(flag, "Data", "--data photos --val-split 0.2");
template <class Visitor>
class FlagSubject {
 public:
  FlagSubject(Visitor& flag, const char* name, const char* example) : flag_(flag) {
    if constexpr (kListed) before_ = flag.enter_subject(std::string(name) + ", as in " + example);
  }
  ~FlagSubject() {
    if constexpr (kListed) flag_.enter_subject(before_);
  }
  FlagSubject(const FlagSubject&) = delete;
  FlagSubject& operator=(const FlagSubject&) = delete;

 private:
  static constexpr bool kListed = requires(Visitor & v, std::string s) { v.enter_subject(s); };
  Visitor& flag_;
  std::string before_;
};

/// Makes a command, its --help, --version and --config, and a flag of each row.
class AddFlags {
 public:
  AddFlags(CLI::App& parent, const char* name, const char* description);
  /// Of a program that has no commands: flags and --version of the application itself.
  explicit AddFlags(CLI::App& program);

  /// Flags are listed under `subject` from here on; returns the one before it.
  std::string enter_subject(std::string subject) { return std::exchange(subject_, std::move(subject)); }

  /// For the types of members that flags.cpp lists.
  template <class Member>
  void operator()(const char* name, Member& member, const std::string& help, const Allowed& allowed,
                  const Bits& = {}) const;

  template <class Member, class Value>
  void operator()(const char* name, Member& member, const std::string& help, const Choice<Value>& choice,
                  const Bits& = {}) const {
    add_choice(
        name, [&member, choice](const std::string& word) { member = choice.value_of(word); }, help, choice.listed(),
        choice.word_of(member), choice);
  }

  /// What the command does once its flags are read.
  void on_run(std::function<void()> run) const;

 private:
  void add_choice(const char* name, const std::function<void(const std::string&)>& take, const std::string& help,
                  const std::string& list, const std::string& shown, const Allowed& allowed) const;
  void finish(CLI::Option& option, const Allowed& allowed) const;

  CLI::App& command_;
  std::string subject_;
};

/// Adds a command whose rows are those of visit_flags(Options&, visitor), and which calls run(options).
template <class Options>
void add_command(CLI::App& parent, const char* name, const char* description, std::function<void(Options&)> run,
                 Options defaults = {}) {
  const auto options = std::make_shared<Options>(std::move(defaults));
  AddFlags flags(parent, name, description);
  visit_flags(*options, flags);
  flags.on_run([options, run] { run(*options); });
}

/// Collects what the rows say of a run's bits.
struct PrintFlags {
  std::map<std::string, std::string>& fingerprint;
  bool finished_runs_count = false;                     ///< the length of a run is an entry, too
  std::map<std::string, std::string>* notes = nullptr;  ///< for a model's file

  template <class Member>
  void operator()(const char* name, const Member& member, const std::string&, const Allowed&, const Bits& bits) const {
    add(name, bits, [&] { return flag_text(member); });
  }
  template <class Member, class Value>
  void operator()(const char* name, const Member& member, const std::string&, const Choice<Value>& choice,
                  const Bits& bits) const {
    add(name, bits, [&] { return choice.word_of(member); });
  }

 private:
  template <class Print>
  void add(const char* name, const Bits& bits, const Print& print) const {
    const bool whole = bits.kind == Bits::Kind::value;
    if (!whole && !(bits.kind == Bits::Kind::length && finished_runs_count)) return;
    const std::string value = bits.shown ? *bits.shown : print();
    fingerprint[whole ? name : bits.key] = value;
    if (notes && bits.in_notes && !value.empty()) (*notes)[name + 2] = value;
  }
};

}  // namespace retort
