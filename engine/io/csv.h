// CSV tables of logits: header `name,<class>,<class>...`, one row a sample (RFC 4180 quoting). A name that a
// spreadsheet would take for a formula ("=1+1.jpg") is written with an apostrophe before it, and read without. The
// forms that other programs write are read as well: filename, file or image for name, in any case; an index column
// before it; semicolons between fields, and then decimal commas.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// A name as a field: quoted where RFC 4180 asks for it, and marked where a spreadsheet would take it for a formula.
std::string csv_field(const std::string& name);

/// Calls row(fields, "FILE:LINE: ") for each record that is not empty. Throws Error for quotes that do not fit, and
/// what `row` throws.
void read_csv(const std::string& path,
              const std::function<void(const std::vector<std::string>& fields, const std::string& where)>& row);

struct LogitTable {
  std::vector<std::string> classes;
  std::vector<std::string> names;
  std::vector<float> values;  ///< [names, classes]
};

/// Throws Error naming file and line: a missing header, a row of another length, something that is no number, a name
/// twice.
LogitTable read_logit_csv(const std::string& path);
struct PredictionTable {
  std::vector<std::string> names, predictions;
};
/// A table `name,class` (or `name,prediction`, `name,label`): one class a name, as a model of which nothing else is
/// known may give it. None where the header is another. Throws Error as read_logit_csv does.
std::optional<PredictionTable> read_prediction_csv(const std::string& path);

/// Atomic. Floats with nine significant digits: they read back to the same bits.
void write_logit_csv(const std::string& path, const LogitTable& table);

}  // namespace retort
