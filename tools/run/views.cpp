#include "tools/run/views.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using nlohmann::json;
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

/// Whether a row "NAME.K" is view K < views of one of the pictures.
bool is_view_of(std::string_view row, const std::unordered_set<std::string_view>& pictures, std::int64_t views) {
  const std::string_view picture = picture_of(row);
  if (picture.empty() || !pictures.contains(picture)) return false;
  std::int64_t view = 0;
  const std::string_view digits = row.substr(picture.size() + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), view);
  return view < views && std::to_string(view) == digits;
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
  const ordered_json index = {{"format", kFormat},   {"version", kVersion},
                              {"views", list.views}, {"augmentation", format_augmentation(list.augmentation)},
                              {"seed", list.seed},   {"image_size", list.image_size},
                              {"names", list.names}, {"hashes", list.hashes}};
  write_atomic((base / kViewListFile).string(), index.dump(1) + "\n");
}

std::optional<ViewList> view_list_beside(const std::string& table) {
  const std::string path = (std::filesystem::path(table).parent_path() / kViewListFile).string();
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  const json index = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                path + ": not a list of views: it ", kAgain);
  ViewList list;
  try {
    // A store that is called views.npy has an index of this name.
    if (!index.is_object() || index.value("format", "") != kFormat) return std::nullopt;
    check(index.at("version") == kVersion, path, ": version ", index.at("version"), ", expected ", kVersion, kAgain);
    // References, since a fraction would be cut off.
    list.views = index.at("views").get_ref<const json::number_integer_t&>();
    list.seed = index.at("seed").get_ref<const json::number_unsigned_t&>();
    list.image_size = index.at("image_size").get_ref<const json::number_integer_t&>();
    index.at("names").get_to(list.names);
    index.at("hashes").get_to(list.hashes);
    list.augmentation = parse_augmentation(index.at("augmentation").get<std::string>());
  } catch (const json::exception& error) {
    throw Error(text(path, ": not a list of views (", error.what(), ")", kAgain));
  } catch (const UsageError&) {
    throw Error(text(path, ": an augmentation that is not known", kAgain));
  }
  check(list.views >= 1 && !list.names.empty() && list.names.size() == list.hashes.size() &&
            list.views <= std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(list.names.size()),
        path, ": ", list.names.size(), " names, ", list.hashes.size(), " hashes and ", list.views, " views", kAgain);
  std::unordered_set<std::string_view> names;
  for (const std::string& name : list.names)
    check(names.insert(name).second, path, ": names '", name, "' twice", kAgain);
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
  if (!list) {
    refuse_views_alone(table, path, dataset);
    return table;
  }
  std::unordered_map<std::string_view, std::int64_t> row_of;
  for (std::size_t row = 0; row < table.names.size(); ++row)
    row_of.emplace(without_extension(table.names[row]), static_cast<std::int64_t>(row));
  // The table's rows are counted, since the list may claim more views than any memory holds.
  const std::unordered_set<std::string_view> pictures(list->names.begin(), list->names.end());
  const auto is_view = [&](const auto& row) { return is_view_of(row.first, pictures, list->views); };
  const std::int64_t absent = list->rows() - std::ranges::count_if(row_of, is_view);
  if (absent == list->rows()) return table;
  const std::int64_t searched = absent > 0 ? list->views : 0;
  for (std::int64_t view = 0; view < searched; ++view)
    for (const std::string& name : list->names)
      check(row_of.contains(view_name(name, view)), path, ": has no row for the view '", view_name(name, view),
            kExtension, "', nor for ", absent - 1, " others of the ", list->rows(), "; score every file of names.csv");
  const std::vector<std::string> wanted = row_names(*list);
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
