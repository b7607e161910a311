#include "engine/distill/logit_store.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/core/repeated.h"
#include "engine/io/atomic_file.h"
#include "engine/io/csv.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npy.h"
#include "engine/io/score_table.h"

namespace retort {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormat = "retort-logits";
constexpr int kVersion = 1;
constexpr const char* kPrevious = "previous";
constexpr const char* kAgain = "; write the logits again with `retort logits`";

/// What must hold of a store with so many rows and columns, but for its logits. `path` is at fault.
void check_rows(const LogitStore& store, std::int64_t rows, std::int64_t columns, const std::string& path) {
  const auto size = [](const std::vector<std::string>& list) { return static_cast<std::int64_t>(list.size()); };
  check(rows > 0 && columns > 0, path, ": no logits", kAgain);
  check(size(store.names) == rows, path, ": ", rows, " rows of logits, but ", size(store.names), " names", kAgain);
  check(size(store.classes) == columns, path, ": ", columns, " logits a row, but ", size(store.classes),
        " classes; give logits of these very classes, one column each");
  check(store.hashes.empty() || size(store.hashes) == rows, path, ": ", rows, " rows of logits, but ",
        size(store.hashes), " hashes", kAgain);
  check(store.views >= 1 && rows % store.views == 0, path, ": ", rows, " rows are not ", store.views,
        " views of each image", kAgain);

  std::unordered_set<std::string_view> names;
  const auto samples = static_cast<std::size_t>(store.samples());
  for (std::size_t row = 0; row < store.names.size(); ++row) {
    const std::string& name = store.names[row];
    if (row < samples)
      check(names.insert(name).second, path, ": '", name, "' has two rows", kAgain);
    else
      check(name == store.names[row % samples], path, ": row ", row, " is of '", name, "', expected a view of '",
            store.names[row % samples], "'", kAgain);
  }
}

/// Logits of the store's rows from `first` on.
void check_finite(std::span<const float> values, const LogitStore& store, std::size_t first, const std::string& path) {
  const auto bad = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
  if (bad == values.end()) return;
  const std::size_t row = first + static_cast<std::size_t>(bad - values.begin()) / store.classes.size();
  throw Error(
      text(path, ": a logit of '", store.names[row], "' is ", *bad, ", expected finite numbers; check the teacher"));
}

/// What must hold of any store, from a caller or from a file.
void check_store(const LogitStore& store, const std::string& path) {
  check_rows(store, store.logits.rows(), store.logits.classes(), path);
  std::size_t row = 0;
  store.logits.each([&](std::span<const float> values) {
    check_finite(values, store, row, path);
    row += values.size() / store.classes.size();
  });
}

constexpr const char *kDtype = "dtype", *kHalf = "f16", *kTop = "top_k";

ordered_json to_json(const LogitStore& store, const LogitEncoding& encoding) {
  ordered_json preprocessing = ordered_json::array();
  for (const Preprocessing& p : store.preprocessing)
    preprocessing.push_back({{"image_size", p.image_size}, {"channels", p.channels}, {"mean", p.mean}, {"std", p.std}});
  ordered_json index = {{"format", kFormat},
                        {"version", kVersion},
                        {"classes", store.classes},
                        {"teacher", store.teacher},
                        {"preprocessing", preprocessing},
                        {"views", store.views},
                        {"augmentation", format_augmentation(store.augmentation)},
                        {"seed", store.seed},
                        {"combine", store.combine}};
  if (encoding.half) index[kDtype] = kHalf;
  if (encoding.top > 0) index[kTop] = encoding.top;
  index["names"] = store.names;
  index["hashes"] = store.hashes;
  return index;
}

/// How the index says that the rows are encoded. Throws nlohmann's exceptions.
LogitEncoding encoding_of(const json& index, std::int64_t classes, const std::string& path) {
  const std::string dtype = index.value(kDtype, std::string("f32"));
  const std::int64_t top = index.contains(kTop) ? index.at(kTop).get_ref<const json::number_integer_t&>() : 0;
  check((dtype == kHalf || dtype == "f32") && top >= 0 && top < classes, index_path(path), ": rows of dtype ",
        dtype.substr(0, 20), " and top_k ", top, ", which are not known of ", classes, " classes", kAgain);
  return {.half = dtype == kHalf, .top = top};
}

/// Throws nlohmann's exceptions for keys that are missing or of another type. Whole numbers are taken by reference: a
/// value would cut off fractions, and what lies beyond 64 bits.
LogitStore from_json(const json& index) {
  LogitStore store;
  index.at("names").get_to(store.names);
  index.at("hashes").get_to(store.hashes);
  index.at("classes").get_to(store.classes);
  index.at("teacher").get_to(store.teacher);
  store.views = index.at("views").get_ref<const json::number_integer_t&>();
  store.seed = index.at("seed").get_ref<const json::number_unsigned_t&>();
  index.at("combine").get_to(store.combine);
  store.augmentation = parse_augmentation(index.at("augmentation").get<std::string>());
  for (const json& p : index.at("preprocessing"))
    store.preprocessing.push_back({p.at("image_size").get_ref<const json::number_integer_t&>(),
                                   p.at("channels").get_ref<const json::number_integer_t&>(),
                                   p.at("mean").get<std::vector<double>>(), p.at("std").get<std::vector<double>>()});
  return store;
}

/// The index that goes with the logits that are there: the file's own or, where a write of the two files ended between
/// them, the one it was to replace. None where there is none.
std::optional<json> read_index(const std::string& path) {
  const std::string index_file = index_path(path);
  if (!std::filesystem::exists(index_file)) return std::nullopt;
  const std::vector<std::uint8_t> bytes = read_text_file(index_file);
  json index = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                          index_file + ": not an index of logits (it ", text(")", kAgain));
  try {
    check(index.at("format") == kFormat && index.at("version") == kVersion, index_file, ": format ", index.at("format"),
          " version ", index.at("version"), ", expected ", kFormat, " version ", kVersion, kAgain);
    const std::string hash = file_hash(path);
    if (index.at("logits") == hash) {
      index.erase(kPrevious);
      return index;
    }
    check(index.contains(kPrevious) && index[kPrevious].at("logits") == hash, path, ": not the logits that ",
          index_file, " was written with", kAgain);
    if (!index[kPrevious].contains("names")) return std::nullopt;  // they had no index
    return index[kPrevious];
  } catch (const json::exception& error) {
    throw Error(text(index_file, ": not an index of logits (", error.what(), ")", kAgain));
  }
}

LogitStore read_indexed(const std::string& path, const json& index) {
  LogitStore store;
  try {
    store = from_json(index);
    if (const std::string* name = repeated(store.classes))
      throw Error(text(index_path(path), ": names the class '", name->substr(0, 60), "' twice", kAgain));
    const auto classes = static_cast<std::int64_t>(store.classes.size());
    store.logits = StoredLogits::open(path, classes, encoding_of(index, classes, path));
  } catch (const json::exception& error) {
    throw Error(text(index_path(path), ": not an index of logits (", error.what(), ")", kAgain));
  } catch (const UsageError&) {
    throw Error(text(index_path(path), ": an augmentation that is not known", kAgain));
  }
  return store;
}

/// What a new index says of the logits that are still there, so that they can be read until the new ones are in place.
/// None where there are none, or they could not be read anyway.
std::optional<json> previous_index(const std::string& path) {
  try {
    if (!std::filesystem::exists(path)) return std::nullopt;
    std::optional<json> index = read_index(path);
    return index ? std::move(index) : json{{"logits", file_hash(path)}};
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Logits of which nothing but the names is known.
LogitStore import_rows(std::vector<std::string> names, std::vector<std::string> classes,
                       const std::vector<float>& values) {
  LogitStore store;
  const auto rows = static_cast<std::int64_t>(names.size()), columns = static_cast<std::int64_t>(classes.size());
  store.logits = Tensor::from<float>({rows, columns}, values);
  store.names = std::move(names);
  store.classes = std::move(classes);
  return store;
}

/// Probabilities become log-probabilities, which are logits; see the header.
void accept_probabilities(LogitStore& store, const std::string& path) {
  constexpr float kMinProbability = 1e-7f, kSlack = 0.05f;  // tables are printed with few digits
  const Tensor logits = store.logits.tensor();              // an import's are in memory, and these are they
  const std::int64_t rows = logits.shape()[0], columns = logits.shape()[1];
  const std::span<float> values = logits.span<float>();
  for (std::int64_t row = 0; row < rows; ++row) {
    float sum = 0;
    for (const float value :
         values.subspan(static_cast<std::size_t>(row * columns), static_cast<std::size_t>(columns))) {
      if (!(value >= 0 && value <= 1 + kSlack)) return;
      sum += value;
    }
    if (std::fabs(sum - 1) > kSlack) return;
  }
  for (float& value : values) value = std::log(std::max(value, kMinProbability));
  store.remark = text(path,
                      ": every row adds up to 1: taken for probabilities, their logarithms for logits. What was "
                      "rounded away or lies below 1e-7 is lost, and no temperature brings it back");
}

/// A predicted class is given a lead that leaves the others no probability at T = 1.
LogitStore import_predictions(const std::string& path, PredictionTable table, std::vector<std::string> classes) {
  constexpr float kLead = 50;
  if (classes.empty()) {
    classes = table.predictions;
    std::ranges::sort(classes);
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  }
  std::unordered_map<std::string_view, std::size_t> column_of;
  for (std::size_t column = 0; column < classes.size(); ++column) column_of.emplace(classes[column], column);
  // Far more than the file may hold: a tensor, so that the limit of memory is heeded.
  const Tensor logits =
      Tensor::zeros({static_cast<std::int64_t>(table.names.size()), static_cast<std::int64_t>(classes.size())});
  const std::span<float> values = logits.span<float>();
  for (std::size_t row = 0; row < table.names.size(); ++row) {
    const auto found = column_of.find(table.predictions[row]);
    check(found != column_of.end(), path, ": predicts '", table.predictions[row], "' for '", table.names[row],
          "', which is no class of the data; use the data's names");
    values[row * classes.size() + found->second] = kLead;
  }
  LogitStore store;
  store.logits = logits;
  store.names = std::move(table.names);
  store.classes = std::move(classes);
  store.remark = text(path,
                      ": holds predictions alone, which say nothing of what else an image resembles: they serve as "
                      "labels, and --temperature 1 is right for them");
  return store;
}

LogitStore import_csv(const std::string& path, const std::vector<std::string>& classes) {
  if (auto predictions = read_prediction_csv(path)) return import_predictions(path, std::move(*predictions), classes);
  LogitTable table = read_logit_csv(path);
  return import_rows(std::move(table.names), std::move(table.classes), table.values);
}

std::vector<std::string> classes_or_numbers(std::vector<std::string> classes, std::int64_t columns) {
  if (classes.empty())
    for (std::int64_t i = 0; i < columns; ++i) classes.push_back(std::to_string(i));
  return classes;
}

LogitStore import_pickled(const std::string& path, std::vector<std::string> classes) {
  const auto entries = read_pickled_dict(path);
  check(!entries.empty(), path, ": its dict is empty; save {name: vector}");
  classes = classes_or_numbers(std::move(classes), static_cast<std::int64_t>(entries.front().second.size()));
  std::vector<std::string> names;
  std::vector<float> values;
  for (const auto& [name, vector] : entries) {
    check(vector.size() == classes.size(), path, ": ", vector.size(), " logits for '", name,
          "', expected one for each of ", classes.size(), " classes; save logits of these very classes");
    names.push_back(name);
    values.insert(values.end(), vector.begin(), vector.end());
  }
  return import_rows(std::move(names), std::move(classes), values);
}

/// An array alone: its columns are the classes in their order, its rows what `row_names` takes them for.
LogitStore import_array(const std::string& path, const std::vector<std::string>& classes, const RowNames& row_names) {
  check(static_cast<bool>(row_names), index_path(path), ": missing, so the rows of ", path,
        " have no names; put the index beside it, or give the logits as a CSV");
  LogitStore store;
  const Tensor table = read_score_table(path);
  store.logits = table;
  const Shape& shape = table.shape();
  store.classes = classes_or_numbers(classes, shape[1]);
  check(static_cast<std::int64_t>(store.classes.size()) == shape[1], path, ": ", shape[1], " logits a row, but ",
        store.classes.size(), " classes; give logits of these very classes, one column each, in their order");
  store.names = row_names(shape[0]);
  return store;
}

}  // namespace

std::string index_path(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".json").string();
}

void check_storable(const std::vector<std::string>& names, const std::string& path) {
  for (const std::string& name : names)
    check(is_utf8(name), path, ": cannot write the name '", name, "', which is not UTF-8; rename it");
}

void check_store_writable(const std::string& path) {
  check_writable(path);
  check_writable(index_path(path));
}

void write_logit_store(const std::string& path, const LogitStore& store, const std::string& csv) {
  check_store(store, path);
  write_logit_store(
      path, store, [&](const LogitSink& sink) { store.logits.each(sink); }, csv);
}

void write_logit_store(const std::string& path, const LogitStore& store, const LogitSource& source,
                       const std::string& csv, const LogitEncoding& encoding) {
  check(path.ends_with(".npy"), path, ": expected a name that ends in .npy; rename it");
  const auto rows = static_cast<std::int64_t>(store.names.size()),
             columns = static_cast<std::int64_t>(store.classes.size());
  check_rows(store, rows, columns, path);
  check_storable(store.names, path);
  check_storable(store.classes, path);
  ordered_json index = to_json(store, encoding);
  AtomicFile logits(path);
  check(!logits.temporary().empty(), path,
        ": not a regular file, which a store of two files needs; give a path to one");
  const auto write = [&](std::span<const std::uint8_t> bytes) { logits.write(bytes); };
  write_npy_header(write, encoding.descr(), encoding.top > 0 ? Shape{rows} : Shape{rows, columns});
  std::vector<std::uint8_t> bytes;
  const std::size_t each = encoding.row_bytes(columns);
  std::size_t written = 0;
  source([&](std::span<const float> values) {
    check_finite(values, store, written, path);
    const std::size_t count = values.size() / store.classes.size();
    bytes.resize(count * each);
    for (std::size_t i = 0; i < count; ++i) try {
        encoding.encode(values.subspan(i * store.classes.size(), store.classes.size()),
                        std::span(bytes).subspan(i * each, each));
      } catch (const Error& error) {
        throw Error(text(path, ": '", store.names[written + i], "': ", error.what()));
      }
    write(bytes);
    written += count;
  });
  check(written == store.names.size(), path, ": ", written, " rows of logits for ", rows, " names", kAgain);
  logits.sync();
  index["logits"] = file_hash(logits.temporary());
  if (const auto previous = previous_index(path)) {
    // Whatever ends the program between the two renames: this index reads the logits before and after the second.
    ordered_json both = index;
    both[kPrevious] = *previous;
    write_atomic(index_path(path), both.dump(1) + "\n");
  }
  logits.commit();
  write_atomic(index_path(path), index.dump(1) + "\n");
  if (csv.empty()) return;
  const auto samples = static_cast<std::ptrdiff_t>(store.samples());
  const std::size_t wanted = static_cast<std::size_t>(samples) * store.classes.size();
  LogitTable table{store.classes, {store.names.begin(), store.names.begin() + samples}, {}};
  table.values.reserve(wanted);
  source([&](std::span<const float> values) {
    const auto part = values.first(std::min(values.size(), wanted - table.values.size()));
    table.values.insert(table.values.end(), part.begin(), part.end());
  });
  write_logit_csv(csv, table);
}

LogitStore read_logit_store(const std::string& path, const std::vector<std::string>& classes,
                            const RowNames& row_names) {
  const std::string extension = std::filesystem::path(path).extension().string();
  check(extension == ".npy" || extension == ".csv", path, ": expected logits in a .npy or a .csv; give one of these");
  LogitStore store;
  if (extension == ".csv")
    store = import_csv(path, classes);
  else if (is_pickled_npy(path))
    store = import_pickled(path, classes);
  else if (const auto index = read_index(path))
    store = read_indexed(path, *index);
  else
    store = import_array(path, classes, row_names);
  check_store(store, path);
  for (const std::string& name : store.classes)
    check(is_utf8(name), path, ": the class '", name, "' has a name that is not UTF-8; save the file as UTF-8");
  if (store.hashes.empty() && store.remark.empty()) accept_probabilities(store, path);
  return store;
}

}  // namespace retort
