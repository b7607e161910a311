#include "tools/run/class_map.h"

#include <unordered_set>
#include <utility>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "tools/cli/progress.h"

namespace retort {

namespace {

/// The lines of a file.
std::vector<std::string> read_class_names(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  std::vector<std::string> names;
  std::unordered_set<std::string> seen;
  std::string name;
  const auto add = [&] {
    if (name.ends_with('\r')) name.pop_back();
    check(!name.empty(), path, ":", names.size() + 1, ": an empty line, expected a class's name; give one a line");
    check(seen.insert(name).second, path, ":", names.size() + 1, ": '", name,
          "' a second time; give each class a name of its own");
    names.push_back(std::exchange(name, {}));
  };
  for (const std::uint8_t byte : bytes) {
    if (byte == '\n')
      add();
    else
      name += static_cast<char>(byte);
  }
  if (!name.empty()) add();
  return names;
}

}  // namespace

std::optional<ClassMap> class_map_of(const ClassMapOptions& options) {
  if (options.path.empty()) {
    if (options.no_prior) throw UsageError("--no-prior: goes with --class-map; leave it out");
    return std::nullopt;
  }
  return read_class_map(options.path, !options.no_prior);
}

void forget_advice(Model& model, const std::string& flag) {
  std::erase_if(model.said, [&](const std::string& line) { return line.find(flag) != line.npos; });
}

void set_classes(const ClassMapOptions& options, Model& model, const std::string& file, const Dataset* dataset,
                 bool quiet) {
  if (!options.names.empty()) forget_advice(model, "--class-names");
  for (const std::string& line : std::exchange(model.said, {})) say(quiet, line);
  if (!options.names.empty()) {
    std::vector<std::string> names = read_class_names(options.names);
    check(names.size() == model.spec.classes.size(), options.names, ": has ", names.size(), " names, and ", file,
          " has ", model.spec.classes.size(), " classes; give one a line, in the order of its scores");
    model.spec.classes = std::move(names);
  }
  const std::optional<ClassMap> map = class_map_of(options);
  if (!map) return;
  const std::vector<std::string> classes = dataset && dataset->labelled() ? dataset->classes() : map->students();
  ClassFold fold(*map, file, model.spec.classes, classes);
  say(quiet, fold.remark());
  model.network = std::make_unique<FoldedNetwork>(std::move(model.network), std::move(fold));
  model.spec.classes = classes;
}

std::string fingerprint_of(const ClassMapOptions& options) {
  std::string print = options.names.empty() ? "" : "names " + file_hash(options.names);
  if (!options.path.empty()) print += text("map ", file_hash(options.path), options.no_prior ? ", no prior" : "");
  return print;
}

}  // namespace retort
