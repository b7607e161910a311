// Every flag of every command stems from a row, and what a row says of a run's bits is true: for each flag of train and
// distill a run is asked for with another value, which must be refused, change the fingerprint, or leave the trained
// weights as they are. The cases are made from the rows.
#include "tools/cli/flags.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "engine/io/safetensors.h"
#include "tools/commands/commands.h"
#include "tools/commands/distill.h"
#include "tools/commands/train.h"
#include "tools/run/logits.h"

using namespace retort;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

/// What a command has beside its rows.
bool is_own_flag_of_every_command(const std::string& name) {
  return name == "--help" || name == "--version" || name == "--config";
}

/// A default as its words: "[1,2]" is a list.
Words words_of_default(std::string shown) {
  if (!shown.starts_with("[")) return {shown};
  Words words;
  shown = shown.substr(1, shown.size() - 2);
  for (const std::string& word : CLI::detail::split(shown, ',')) words.push_back(word);
  return words;
}

struct Row {
  std::string name, value;
  Bits bits;
  Words others;  ///< of which some may be refused, and one may be the value
};

/// Other values of flags that take texts or lists; those of all other types are made up.
using Texts = std::map<std::string, Words>;

struct ListRows {
  std::vector<Row>& rows;
  const Texts& texts;

  template <class Member>
  void operator()(const char* name, const Member& member, const std::string&, const Allowed&, const Bits& bits) const {
    Row row{long_name(name), flag_text(member), bits, {}};
    if (const auto found = texts.find(row.name); found != texts.end())
      row.others = found->second;
    else if constexpr (std::is_same_v<Member, bool>)
      row.others = {"true", "false"};
    else
      row.others = {"2", "0.5", "1", "7"};
    rows.push_back(row);
  }
  template <class Member, class Value>
  void operator()(const char* name, const Member& member, const std::string&, const Choice<Value>& choice,
                  const Bits& bits) const {
    Row row{long_name(name), choice.word_of(member), bits, {}};
    for (const auto& [word, value] : choice.words()) row.others.push_back(word);
    rows.push_back(row);
  }

  static std::string long_name(const std::string& name) { return name.substr(name.find("--")); }
};

template <class Options>
std::vector<Row> rows_of(Options options, const Texts& texts) {
  std::vector<Row> rows;
  visit_flags(options, ListRows{rows, texts});
  return rows;
}

/// The options of a command line. Throws CLI::ParseError.
template <class Options>
Options parse(Words line) {
  Options options;
  CLI::App app;
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  AddFlags flags(app, "command", "");
  visit_flags(options, flags);
  std::ranges::reverse(line);
  line.push_back("command");
  app.parse(std::move(line));
  return options;
}

struct Asked {
  TrainingRun run;
  Fingerprint fingerprint, of_finished;
};

template <class Options>
Asked ask(const Options& options) {
  Asked asked{make_run(options), {}, {}};
  asked.fingerprint = fingerprint_of(asked.run, describe(asked.run));
  const Resume resume = std::exchange(asked.run.resume, Resume::always);
  asked.of_finished = fingerprint_of(asked.run, describe(asked.run));
  asked.run.resume = resume;
  return asked;
}

using Weights = std::vector<std::pair<std::string, std::string>>;

/// The weights of a run, as bytes.
Weights train(const TrainingRun& run) {
  Weights weights;
  const TrainingOutcome outcome = run_training(run);
  for (const auto& [name, tensor] : read_safetensors(outcome.model).tensors)
    weights.emplace_back(name, std::string(static_cast<const char*>(tensor.raw()), tensor.bytes()));
  return weights;
}

void write_image(const fs::path& path, int red, int green, int blue) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << "P6\n8 8\n255\n";
  for (int i = 0; i < 64; ++i)
    for (const int value : {red, green, blue}) file.put(static_cast<char>(value + i));
}

/// Data, teachers and stores in a folder of their own.
class Workshop {
 public:
  Workshop() : folder_(fs::temp_directory_path() / ("retort-flags-" + std::to_string(::getpid()))) {
    draw("data", 6);
    draw("more", 7);
    draw("broken", 6);
    for (int i = 0; i < 5; ++i) {
      write_image(folder_ / "pile" / (std::to_string(i) + ".ppm"), 90 + 5 * i, 7 * i, 30);
      write_image(folder_ / "heap" / (std::to_string(i) + ".ppm"), 30, 90 + 5 * i, 7 * i);
    }
    write_image(folder_ / "heap" / "more.ppm", 1, 2, 3);
    std::ofstream(folder_ / "names.txt") << "green\nblue\nred\n";
    std::ofstream(folder_ / "map.csv") << "teacher,student\nblue,red,2\nred,blue\ngreen,green\n";
    std::ofstream(folder_ / "broken/red/9.ppm") << "P6\n8 8\n255\n";
    for (const auto& [name, seed] : {std::pair{"a", 1}, std::pair{"b", 2}}) {
      save_teacher(path(name) + ".safetensors", seed);
      for (const auto& [split, word] : kSplits)
        if (split != Split::test) write_store(name, split, word);  // the folder has no such part
    }
  }
  ~Workshop() { fs::remove_all(folder_); }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  Words training(const char* model_flag, const char* data) const {
    return {model_flag, "mlp:4",    "--data", path(data),     "--val-split", "0.3",   "--batch-size",
            "4",        "--epochs", "2",      "--image-size", "8",           "--out", path("out.safetensors"),
            "--quiet"};
  }
  Texts texts() const {
    return {{"--data", {path("more")}},
            {"--classes", {"red,blue", "blue,green,red"}},
            {"--cache", {path("pixels.cache")}},
            {"--mean", {"0.1,0.2,0.3"}},
            {"--std", {"0.1,0.2,0.3"}},
            {"--out", {path("elsewhere.safetensors")}},
            {"--log", {path("log.jsonl")}},
            {"--report", {path("report.html")}},
            {"--counters", {path("counters.json")}},
            {"--tensorboard", {path("events")}},
            {"--weights", {path("a.safetensors")}},
            {"--warm-start", {path("b.safetensors")}},
            {"--augment", {"flip", "none", "randaugment"}},
            {"--milestones", {"1"}},
            {"--bn-recalibrate", {"off", "7"}},
            {"--unlabelled", {path("pile"), path("heap")}},
            {"--freeze", {"layers.0"}},
            {"--backend", {"reference", "cudnn", "simt"}},
            {"--kernel", {"gemm.run=reference", "gemm.run=cpu"}},
            {"--model", {"mlp:5"}},
            {"--student", {"mlp:5"}},
            {"--logits", {path("b-train.npy")}},
            {"--val-logits", {path("a-val.npy")}},
            {"--teacher",
             {path("b.safetensors"), path("a.safetensors"), path("b.safetensors") + "," + path("a.safetensors")}},
            {"--teacher-weights", {"1,2"}},
            {"--hint", {"layers.0:layers.0"}},
            {"--head", {"5,relu,dropout:0.5"}},
            {"--class-map", {path("map.csv")}},
            {"--class-names", {path("names.txt")}},
            {"--omit-classes", {"red"}}};
  }

 private:
  void draw(const std::string& name, int images) const {
    for (int i = 0; i < images; ++i) {
      const std::string file = std::to_string(i) + ".ppm";
      write_image(folder_ / name / "red" / file, 150 + 5 * i, 7 * i, 30);
      write_image(folder_ / name / "green" / file, 30, 150 + 5 * i, 7 * i);
      write_image(folder_ / name / "blue" / file, 7 * i, 30, 150 + 5 * i);
    }
  }
  void save_teacher(const std::string& file, std::uint64_t seed) const {
    ModelSpec spec;
    spec.architecture = "mlp:4";
    spec.classes = {"blue", "green", "red"};
    spec.preprocessing = default_preprocessing(spec.architecture, 8, 3);
    const std::unique_ptr<Network> network = make_network(spec, seed);
    save_model(file, *network, spec);
  }
  void write_store(const std::string& teacher, Split split, const char* word) const {
    LogitsOptions options;
    options.common.quiet = true;
    options.data.path = path("data");
    options.data.split = split;
    options.data.val_split = 0.3;
    options.model = path(teacher + ".safetensors");
    options.out = path(teacher + "-" + word + ".npy");
    run_logits(options);
  }

  fs::path folder_;
};

/// What was seen of the flags over all base lines.
struct Seen {
  std::set<std::string> named, accepted, moved;  ///< moved: an entry of the fingerprint
};

/// Sums differ there, and the row says so.
bool rounds_otherwise(const std::string& flag) { return flag == "--device"; }

/// `trains`: false for a line whose data cannot be read to the end.
template <class Options>
void check_rows(const Words& line, const Texts& texts, Seen& seen, bool trains = true) {
  const Options base = parse<Options>(line);
  const Asked before = ask(base);
  const Weights weights = trains ? train(before.run) : Weights{};
  const std::vector<Row> rows = rows_of(base, texts);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    CAPTURE(row.name);
    seen.named.insert(row.name);
    for (const std::string& word : row.others) {
      CAPTURE(word);
      Words other = line;
      other.push_back(row.name + "=" + word);
      std::optional<Asked> after;
      Bits bits;
      try {
        const Options options = parse<Options>(other);
        const Row changed = rows_of(options, texts)[i];
        if (changed.value == row.value) continue;
        bits = changed.bits;
        after = ask(options);
      } catch (const CLI::ParseError&) {
        continue;  // refused
      } catch (const Error&) {
        continue;
      }
      seen.accepted.insert(row.name);
      const bool moved = after->fingerprint != before.fingerprint;
      switch (bits.kind) {
        case Bits::Kind::value:
          CHECK(after->fingerprint.at(row.name) != before.fingerprint.at(row.name));
          seen.moved.insert(row.name);
          break;
        case Bits::Kind::entry:  // it may lead to the same
          if (after->fingerprint.at(bits.key) != before.fingerprint.at(bits.key)) seen.moved.insert(row.name);
          break;
        case Bits::Kind::length:
          CHECK(!moved);
          CHECK(after->of_finished != before.of_finished);
          seen.moved.insert(row.name);
          break;
        case Bits::Kind::none:
          CHECK(!moved);
          CHECK(std::strlen(bits.reason) > 0);
          if (trains && !rounds_otherwise(row.name)) CHECK(train(after->run) == weights);
          break;
      }
      if (trains && !moved && bits.kind == Bits::Kind::entry) CHECK(train(after->run) == weights);
    }
  }
}

}  // namespace

TEST_CASE("flags: every option of every command stems from a row, and its default is in its range") {
  CLI::App app("", "retort");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_commands(app);
  int options = 0;
  const auto all = [](const CLI::App*) { return true; };
  std::vector<CLI::App*> commands = app.get_subcommands(all);
  for (std::size_t i = 0; i < commands.size(); ++i)  // those of bench come after
    for (CLI::App* of_command : commands[i]->get_subcommands(all)) commands.push_back(of_command);
  for (CLI::App* command : commands) {
    for (CLI::Option* option : command->get_options()) {
      const std::string name = option->get_name();
      if (is_own_flag_of_every_command(name)) continue;
      CAPTURE(command->get_name());
      CAPTURE(name);
      const CLI::Validator* row = nullptr;
      REQUIRE_NOTHROW(row = option->get_validator(kRowValidator));
      ++options;
      if (option->get_default_str().empty()) continue;
      for (const std::string& word : words_of_default(option->get_default_str())) CHECK((*row)(word) == "");
    }
  }
  CHECK(options > 150);
}

TEST_CASE("flags: another value is refused, changes the fingerprint, or leaves the weights as they are") {
  const Workshop workshop;
  const Texts texts = workshop.texts();
  Seen seen;
  SUBCASE("train") {
    check_rows<TrainOptions>(workshop.training("--model", "data"), texts, seen);
    check_rows<TrainOptions>(workshop.training("--model", "broken"), texts, seen, /*trains=*/false);
    Words stepped = workshop.training("--model", "data");
    stepped.insert(stepped.end(),
                   {"--optimizer", "sgd", "--schedule", "step", "--weights", workshop.path("b.safetensors")});
    check_rows<TrainOptions>(stepped, texts, seen);
  }
  SUBCASE("distill") {
    Words stored = workshop.training("--student", "data"), live = stored;
    stored.insert(stored.end(), {"--logits", workshop.path("a-train.npy")});
    live.insert(live.end(), {"--teacher", workshop.path("a.safetensors") + "," + workshop.path("b.safetensors")});
    check_rows<DistillOptions>(stored, texts, seen);
    check_rows<DistillOptions>(live, texts, seen);
    Words partly = workshop.training("--student", "data");
    partly.insert(partly.end(),
                  {"--teacher", workshop.path("a.safetensors"), "--unlabelled", workshop.path("pile"), "--schedule",
                   "step", "--optimizer", "sgd", "--weights", workshop.path("b.safetensors")});
    check_rows<DistillOptions>(partly, texts, seen);
    for (const SoftLossRow& row : kSoftLosses)
      if (row.constant.flag) {
        Words of_its_loss = live;
        of_its_loss.insert(of_its_loss.end(), {"--loss", row.word});
        check_rows<DistillOptions>(of_its_loss, texts, seen);
      }
    Words folded = workshop.training("--student", "data");
    folded.insert(folded.end(), {"--teacher", workshop.path("a.safetensors"), "--class-map", workshop.path("map.csv")});
    check_rows<DistillOptions>(folded, texts, seen);
    Words broken = workshop.training("--student", "broken");
    broken.insert(broken.end(), {"--teacher", workshop.path("a.safetensors")});
    check_rows<DistillOptions>(broken, texts, seen, /*trains=*/false);
  }
  for (const std::string& name : seen.named) {
    INFO(name << ": no other value was accepted; name one in Workshop::texts()");
    CHECK(seen.accepted.contains(name));
    if (name == "--skip-bad") CHECK(seen.moved.contains(name));
  }
}

TEST_CASE("flags: a validation store is an entry where the schedule follows the validation loss") {
  const Workshop workshop;
  Words line = workshop.training("--student", "data");
  line.insert(line.end(), {"--logits", workshop.path("a-train.npy"), "--schedule", "plateau"});
  const Fingerprint without = ask(parse<DistillOptions>(line)).fingerprint;
  line.insert(line.end(), {"--val-logits", workshop.path("a-val.npy")});
  CHECK(ask(parse<DistillOptions>(line)).fingerprint.at("--val-logits") != without.at("--val-logits"));
}

TEST_CASE("flags: values print so that they read back to the same bits") {
  CHECK(exact(0.02) == "0.02");
  CHECK(exact(4) == "4.0");
  CHECK(plain(4) == "4");
  CHECK(plain(0.1) == "0.1");
  for (const double value : {1.0 / 3, 1e-300, 123456789.0, 0.1 + 0.2}) CHECK(std::stod(plain(value)) == value);
  CHECK(plain(1 + 1e-12) != plain(1));
}

TEST_CASE("flags: ranges say what they want") {
  CHECK(whole_number(1, 8).refusal("8") == "");
  CHECK(whole_number(1, 8).refusal("9") == "9 is not allowed; give a whole number from 1 to 8");
  CHECK(whole_number(1).refusal("1.5") == "'1.5' is not allowed; give a whole number from 1");
  CHECK(number_in("[0, 1)").refusal("0") == "");
  CHECK(number_in("[0, 1)").refusal("1") == "1 is not allowed; give a number in [0, 1)");
  CHECK(number_in("(0, 1]").refusal("0") != "");
  CHECK(number_in("(0, 1]").refusal("1") == "");
  CHECK(number_above(0).refusal("0") == "0 is not allowed; give a number above 0");
  CHECK(number_above(0).refusal("inf") != "");
  CHECK(number_from(0).refusal("nan") == "nan is not allowed; give a number from 0");
  CHECK(file_name(".npy").refusal("x.csv") == "'x.csv' is not a .npy file; name one");
  CHECK(one_of(kPrecisions).refusal("fp16") == "'fp16' is not known; give fp32, bf16 or int8");
  CHECK(one_of(kPrecisions).value_of("bf16") == DType::bf16);
  CHECK(one_of(kSoftLosses).listed() == soft_loss_words());
  CHECK(one_of(kSoftLosses).refusal("l1") == "'l1' is not known; give " + soft_loss_words());
}
