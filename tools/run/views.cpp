#include "tools/run/views.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFormat = "retort-views";
constexpr int kVersion = 1;
constexpr std::string_view kExtension = ".png";
constexpr const char* kAgain = "; write the views again with `retort views`";

std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\n\r") == std::string::npos) return field;
  std::string result = "\"";
  for (const char c : field) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + "\"";
}

std::string_view without_extension(std::string_view name) {
  return name.ends_with(kExtension) ? name.substr(0, name.size() - kExtension.size()) : name;
}

/// NAME of "NAME.K" or "NAME.K.png"; empty for other names.
std::string_view picture_of(std::string_view view) {
  view = without_extension(view);
  const std::size_t digits = view.find_last_not_of("0123456789");
  if (digits == std::string_view::npos || digits + 1 == view.size() || view[digits] != '.') return {};
  return view.substr(0, digits);
}

void refuse_views_alone(const LogitStore& table, const std::string& path, const Dataset& dataset) {
  std::unordered_set<std::string_view> names;
  for (std::int64_t i = 0; i < dataset.size(); ++i) names.insert(dataset.name(i));
  const std::string& first = table.names.front();
  check(names.contains(first) || !names.contains(picture_of(first)), path, ": its rows are views ('", first, "'), and ",
        kViewListFile, ", which says how they were drawn, is not beside it; put the table into the folder ",
        "that `retort views` wrote");
}

}  // namespace

std::string view_name(const std::string& name, std::int64_t view) { return text(name, ".", view); }

void write_view_list(const std::string& folder, const ViewList& list) {
  const std::filesystem::path base = folder;
  std::string csv = "name,view,file\n";
  for (std::int64_t view = 0; view < list.views; ++view)
    for (const std::string& name : list.names)
      csv += text(quoted(name), ",", view, ",", quoted(view_name(name, view) + std::string(kExtension)), "\n");
  write_atomic((base / "names.csv").string(), csv);
  const ordered_json json = {{"format", kFormat},   {"version", kVersion},
                             {"views", list.views}, {"augmentation", format_augmentation(list.augmentation)},
                             {"seed", list.seed},   {"image_size", list.image_size},
                             {"names", list.names}, {"hashes", list.hashes}};
  write_atomic((base / kViewListFile).string(), json.dump(1) + "\n");
}

std::optional<ViewList> view_list_beside(const std::string& table) {
  const std::string path = (std::filesystem::path(table).parent_path() / kViewListFile).string();
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  ViewList list;
  try {
    const ordered_json json = ordered_json::parse(bytes.begin(), bytes.end());
    // A store that is called views.npy has an index of this name.
    if (!json.is_object() || json.value("format", "") != kFormat) return std::nullopt;
    check(json.at("version") == kVersion, path, ": version ", json.at("version"), ", expected ", kVersion, kAgain);
    json.at("views").get_to(list.views);
    json.at("seed").get_to(list.seed);
    json.at("image_size").get_to(list.image_size);
    json.at("names").get_to(list.names);
    json.at("hashes").get_to(list.hashes);
    list.augmentation = parse_augmentation(json.at("augmentation").get<std::string>());
  } catch (const ordered_json::exception& error) {
    throw Error(text(path, ": not a list of views (", error.what(), ")", kAgain));
  } catch (const UsageError&) {
    throw Error(text(path, ": an augmentation that is not known", kAgain));
  }
  check(list.views >= 1 && !list.names.empty() && list.names.size() == list.hashes.size(), path, ": ",
        list.names.size(), " names, ", list.hashes.size(), " hashes and ", list.views, " views", kAgain);
  return list;
}

std::vector<std::string> row_names(const ViewList& list) {
  std::vector<std::string> names;
  for (std::int64_t view = 0; view < list.views; ++view)
    for (const std::string& name : list.names) names.push_back(view_name(name, view));
  return names;
}

LogitStore read_as_views(LogitStore table, const std::string& path, const Dataset& dataset) {
  if (!table.hashes.empty() || table.views != 1) return table;
  const std::optional<ViewList> list = view_list_beside(path);
  std::unordered_map<std::string_view, std::int64_t> row_of;
  for (std::size_t row = 0; row < table.names.size(); ++row)
    row_of.emplace(without_extension(table.names[row]), static_cast<std::int64_t>(row));
  const std::vector<std::string> wanted = list ? row_names(*list) : std::vector<std::string>();
  const auto missing = [&](const std::string& view) { return !row_of.contains(view); };
  const std::int64_t absent = std::ranges::count_if(wanted, missing);
  if (absent == static_cast<std::int64_t>(wanted.size())) {
    if (!list) refuse_views_alone(table, path, dataset);
    return table;
  }
  if (absent > 0)
    throw Error(text(path, ": has no row for the view '", *std::ranges::find_if(wanted, missing), kExtension,
                     "', nor for ", absent - 1, " others of the ", wanted.size(), "; score every file of names.csv"));
  LogitStore store;
  store.classes = std::move(table.classes);
  store.views = list->views;
  store.augmentation = list->augmentation;
  store.seed = list->seed;
  store.remark = std::move(table.remark);
  const Tensor logits = Tensor::empty({list->rows(), table.logits.classes()});
  for (std::size_t i = 0; i < wanted.size(); ++i)
    table.logits.read(row_of.at(wanted[i]), logits.rows(static_cast<std::int64_t>(i), 1).span<float>());
  store.logits = logits;
  for (std::int64_t view = 0; view < list->views; ++view) {
    store.names.insert(store.names.end(), list->names.begin(), list->names.end());
    store.hashes.insert(store.hashes.end(), list->hashes.begin(), list->hashes.end());
  }
  return store;
}

}  // namespace retort
