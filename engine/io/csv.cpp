#include "engine/io/csv.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/core/number.h"
#include "engine/io/file.h"

namespace retort {
namespace {

/// Splits RFC 4180 text into records; quoted fields may hold separators, quotes (doubled) and line breaks. Fields are
/// separated by commas or, where the first line has more of them, by semicolons, as spreadsheets of countries with a
/// decimal comma write.
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& path) : text_(text), path_(path) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);  // the byte order mark that spreadsheets write
    const std::string_view first = text_.substr(0, text_.find('\n'));
    if (std::ranges::count(first, ';') > std::ranges::count(first, ',')) separator_ = ';';
  }

  char separator() const { return separator_; }

  /// The next record, empty lines skipped; nothing at the end.
  std::optional<std::vector<std::string>> next() {
    while (text_.starts_with('\n') || text_.starts_with("\r\n")) end_line();
    if (text_.empty()) return {};
    line_ = next_line_;
    std::vector<std::string> fields;
    do {
      fields.push_back(take_field());
    } while (take_separator());
    return fields;
  }

  /// "FILE:LINE: " of the record that next() returned last.
  std::string where() const { return text(path_, ':', line_, ": "); }

 private:
  void end_line() {
    text_.remove_prefix(text_.starts_with('\n') ? 1 : 2);
    ++next_line_;
  }

  /// After a field: true for another one, false at the end of the record.
  bool take_separator() {
    if (text_.empty()) return false;
    if (text_.starts_with(separator_)) {
      text_.remove_prefix(1);
      return true;
    }
    check(text_.starts_with('\n') || text_.starts_with("\r\n"), where(),
          "text after a closing quote; double the quotes within a quoted field");
    end_line();
    return false;
  }

  std::string take_field() {
    if (!text_.starts_with('"')) {
      std::size_t end = std::min(text_.find_first_of(std::string{separator_, '\n'}), text_.size());
      if (end < text_.size() && text_[end] == '\n' && end > 0 && text_[end - 1] == '\r') --end;
      std::string field(text_.substr(0, end));
      text_.remove_prefix(end);
      return field;
    }
    std::string field;
    while (true) {
      text_.remove_prefix(1);  // the opening quote, or the second of a pair
      const std::size_t quote = text_.find('"');
      check(quote != text_.npos, where(), "a quoted field without an end; close it with \"");
      for (const char c : text_.substr(0, quote)) next_line_ += c == '\n';
      field += text_.substr(0, quote);
      text_.remove_prefix(quote + 1);
      if (!text_.starts_with('"')) return field;
      field += '"';
    }
  }

  std::string_view text_;
  char separator_ = ',';
  const std::string& path_;
  std::int64_t line_ = 1, next_line_ = 1;
};

/// The column that holds the names: the first, or the second behind an index column as pandas writes it, without a
/// name of its own; -1: none.
std::ptrdiff_t name_column(const std::vector<std::string>& header) {
  const auto is_name = [&](std::size_t column) {
    if (column >= header.size()) return false;
    std::string word = header[column];
    std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
    return word == "name" || word == "filename" || word == "file" || word == "image";
  };
  if (is_name(0)) return 0;
  const bool index = !header.empty() && (header[0].empty() || header[0] == "index" || header[0] == "Unnamed: 0");
  return index && is_name(1) ? 1 : -1;
}

float parse_float(std::string field, const std::string& where, char separator) {
  if (separator == ';') std::ranges::replace(field, ',', '.');
  std::string_view digits = field;
  while (digits.starts_with(' ')) digits.remove_prefix(1);
  while (digits.ends_with(' ')) digits.remove_suffix(1);
  if (digits.starts_with('+')) digits.remove_prefix(1);
  // By way of double, so that what is too small for float becomes 0 and no error. Nine digits lie far closer to their
  // float than the rounding to double could move them, so the bits survive.
  const std::optional<double> value = number_of(digits);
  check(value.has_value(), where, "'", field, "' is no number; give a logit");
  check(std::isfinite(static_cast<float>(*value)), where, "'", field, "' is no finite float; give a logit");
  return static_cast<float>(*value);
}

/// What makes a spreadsheet take a cell for a formula, which may run a program.
constexpr std::string_view kFormula = "=+-@\t\r";

/// A name or a class as a cell: where it begins like a formula and is no number, an apostrophe goes before it, which
/// spreadsheets hide; and where it begins like such a cell, so that from_cell gives every name back.
std::string as_cell(const std::string& field) {
  const std::size_t first = field.find_first_not_of('\'');
  if (first == field.npos || kFormula.find(field[first]) == kFormula.npos) return field;
  return number_of(std::string_view(field).substr(field[0] == '+' ? 1 : 0)) ? field : "'" + field;
}

std::string from_cell(std::string field) {
  const std::size_t first = field.find_first_not_of('\'');
  const bool marked = first != field.npos && first > 0 && kFormula.find(field[first]) != kFormula.npos;
  return marked ? field.substr(1) : std::move(field);
}

std::string digits(float value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 9).ptr;
  return {buffer, end};
}

}  // namespace

std::string csv_field(const std::string& name) {
  std::string field = as_cell(name);
  const bool plain = field.find_first_of(",\"\r\n") == field.npos;
  if (plain) return field;
  std::string result = "\"";
  for (const char c : field) result.append(c == '"' ? 2 : 1, c);
  return result + '"';
}

void read_csv(const std::string& path,
              const std::function<void(const std::vector<std::string>& fields, const std::string& where)>& row) {
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  CsvReader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  while (const auto fields = reader.next()) row(*fields, reader.where());
}

LogitTable read_logit_csv(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  CsvReader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  LogitTable table;
  const auto header = reader.next();
  const std::ptrdiff_t name = header ? name_column(*header) : -1;
  check(name >= 0 && std::ssize(*header) >= name + 2, reader.where(),
        "expected the header name,<class>,<class>... (or filename, file, image for name; ; for ,); add it");
  for (auto word = header->begin() + name + 1; word != header->end(); ++word) table.classes.push_back(from_cell(*word));
  std::unordered_set<std::string> classes, names;
  for (const std::string& word : table.classes)
    check(classes.insert(word).second, reader.where(), "class '", word, "' twice in the header; name each column");

  while (const auto row = reader.next()) {
    const std::string where = reader.where();
    check(row->size() == header->size(), where, row->size(), " fields, expected ", header->size(),
          " as in the header; complete the row");
    const std::string& sample = table.names.emplace_back(from_cell((*row)[static_cast<std::size_t>(name)]));
    check(names.insert(sample).second, where, "'", sample, "' a second time; keep one row of it");
    for (auto field = row->begin() + name + 1; field != row->end(); ++field)
      table.values.push_back(parse_float(*field, where, reader.separator()));
  }
  check(!table.names.empty(), path, ": no rows below the header; add one for each image");
  return table;
}

std::optional<PredictionTable> read_prediction_csv(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  CsvReader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  const auto header = reader.next();
  const std::ptrdiff_t name = header ? name_column(*header) : -1;
  if (name < 0 || std::ssize(*header) != name + 2 ||
      (header->back() != "class" && header->back() != "prediction" && header->back() != "label"))
    return {};
  PredictionTable table;
  std::unordered_set<std::string> names;
  while (const auto row = reader.next()) {
    check(row->size() == header->size(), reader.where(), row->size(),
          " fields, expected a name and a class; complete the row");
    const std::string& sample = table.names.emplace_back(from_cell((*row)[static_cast<std::size_t>(name)]));
    check(names.insert(sample).second, reader.where(), "'", sample, "' a second time; keep one row of it");
    table.predictions.push_back(from_cell(row->back()));
  }
  check(!table.names.empty(), path, ": no rows below the header; add one for each image");
  return table;
}

void write_logit_csv(const std::string& path, const LogitTable& table) {
  const std::size_t columns = table.classes.size();
  check(table.values.size() == table.names.size() * columns, path, ": cannot write ", table.values.size(),
        " logits as ", table.names.size(), " rows of ", columns, "; give one value for each");
  write_atomic(path, [&](const ByteSink& sink) {
    constexpr std::size_t kFlush = 1 << 20;
    std::string lines = "name";
    const auto flush = [&] {
      sink({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
      lines.clear();
    };
    for (const std::string& name : table.classes) lines += ',' + csv_field(name);
    lines += '\n';
    for (std::size_t row = 0; row < table.names.size(); ++row) {
      lines += csv_field(table.names[row]);
      for (std::size_t column = 0; column < columns; ++column) {
        const float value = table.values[row * columns + column];
        check(std::isfinite(value), path, ": the logit of '", table.names[row], "' for class '", table.classes[column],
              "' is ", value, ", expected a finite number; check the teacher");
        lines += ',' + digits(value);
      }
      lines += '\n';
      if (lines.size() >= kFlush) flush();
    }
    flush();
  });
}

}  // namespace retort
