// CSV tables of logits: header `name,<class>,<class>...`, one row a sample (RFC 4180 quoting).
#pragma once

#include <string>
#include <vector>

namespace retort {

struct LogitTable {
  std::vector<std::string> classes;
  std::vector<std::string> names;
  std::vector<float> values;  ///< [names, classes]
};

/// Throws Error naming file and line: a missing header, a row of another length, something that is no number, a name
/// twice.
LogitTable read_logit_csv(const std::string& path);
/// Atomic. Floats with nine significant digits: they read back to the same bits.
void write_logit_csv(const std::string& path, const LogitTable& table);

}  // namespace retort
