// retort page: one HTML file that classifies a picture in the browser, with the engine and the model inside.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/core/number.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/own_path.h"
#include "engine/report/page.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/seen_pictures.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

/// Base64 makes four characters of three bytes, and the longest text that Chromium holds has 2^29 - 24.
constexpr std::uint64_t kMostBytes = 400'000'000;

struct PageOptions {
  CommonOptions common;
  std::string model, teacher, out;
};

template <class Visitor>
void visit_flags(PageOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Model file", required(anything()));
  flag("--teacher", o.teacher, "Model file, whose answers are shown beside the model's", anything());
  flag("-o,--out", o.out, "Page to write", required(file_name(".html")));
}

/// The program that a page runs: beside this one.
std::vector<std::uint8_t> module_of_page() {
  const fs::path beside = fs::path(own_path()).parent_path() / "retort-page.wasm";
  std::error_code none;
  check(fs::is_regular_file(beside, none), beside.string(),
        ": not there, and a page runs it; build it with `cmake --build build --target retort-page`, which needs what "
        "`tools/install_dependencies.sh --page` installs");
  return read_file(beside.string());
}

void check_out(const PageOptions& options) {
  for (const auto& [flag, path] : {std::pair{"--model", options.model}, {"--teacher", options.teacher}}) {
    std::error_code none;
    if (!path.empty() && fs::equivalent(path, options.out, none))
      throw UsageError(text("--out: ", options.out, " is what ", flag, " names; name another file"));
  }
  check_writable(options.out);
}

Model open(const std::string& path, const PageOptions& options) {
  return open_model(path, "", DataOptions{}, nullptr, options.common);
}

/// A model file of a network, without what its notes say of its training alone.
std::vector<std::uint8_t> bytes_of(Model& model) {
  for (const char* note : {kSeenNote, "temperature"}) model.spec.notes.erase(note);
  std::vector<std::uint8_t> bytes;
  write_safetensors(
      [&](std::span<const std::uint8_t> piece) {
        check(bytes.size() + piece.size() <= kMostBytes, model.path, ": more than ", kMostBytes,
              " bytes, which is what a page can hold; give a smaller network, or `retort bundle` it");
        bytes.insert(bytes.end(), piece.begin(), piece.end());
      },
      model.path, to_file(*model.network, model.spec));
  return bytes;
}

std::string title_of(const std::vector<std::string>& classes) {
  constexpr std::size_t kNamed = 4;
  return classes.size() <= kNamed ? alternatives(classes) + "?" : text("Which of ", classes.size(), " classes?");
}

std::string described(const char* who, const Model& model) {
  const std::int64_t size = model.spec.preprocessing.image_size;
  return text(who, ": ", model.spec.architecture, ", which sees ", size, " x ", size, " pixels. ");
}

void run_page(const PageOptions& options) {
  apply_common_options(options.common);
  PageProgram program;
  program.module = module_of_page();
  check_out(options);
  Model student = open(options.model, options);
  const std::vector<std::string> classes = student.spec.classes;
  Page page(title_of(classes));
  std::string networks = described("Student", student);
  const auto note = student.spec.notes.find("temperature");
  const std::optional<double> marked =
      note == student.spec.notes.end() ? std::nullopt : number_of(std::string_view(note->second));
  if (!options.teacher.empty()) {
    Model teacher = open(options.teacher, options);
    if (teacher.spec.classes != classes)
      throw UsageError(text("--teacher: ", options.teacher, " has other classes than ", options.model,
                            ", or in another order; give the teacher of this student"));
    networks += described("Teacher", teacher);
    program.teacher = bytes_of(teacher);
  }
  program.student = bytes_of(student);
  page.paragraph(networks + "The page computes by itself: no picture leaves this machine.");
  page.classifier(program, classes, options.teacher.empty() ? "model" : "student", marked);
  const std::string html = page.str();
  write_atomic(options.out, html);
  say(options.common.quiet, text("saved ", options.out, ": ", html.size(), " bytes"));
  if (options.common.json) {
    const nlohmann::ordered_json json = {{"out", options.out}, {"bytes", html.size()}};
    std::cout << json_text(json) << std::endl;
  }
}

}  // namespace

void add_page_command(CLI::App& app) {
  add_command<PageOptions>(
      app, "page", "Writes an HTML file that classifies a picture in the browser, with the model inside", run_page);
}

}  // namespace retort
