#include "engine/io/json.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "engine/core/check.h"

namespace retort {
namespace {

using nlohmann::json;

/// Builds the value from the parser's events. nlohmann's own builder looks through all members of the parent whenever
/// an object in it ends, if a callback is given, and knows no bound on depth.
class Builder {
 public:
  explicit Builder(json& root) : root_(root) {}

  const std::string& fault() const { return fault_; }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(json::number_integer_t value) { return put(value); }
  bool number_unsigned(json::number_unsigned_t value) { return put(value); }
  bool number_float(json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(json::binary_t& value) { return put(std::move(value)); }
  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    const auto [member, fresh] = open_.back()->get_ref<json::object_t&>().emplace(std::move(name), nullptr);
    if (!fresh) return fail(text("has ", json(member->first.substr(0, 100)).dump(-1, ' ', true), " twice"));
    member_ = &member->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception&) { return fail("is not JSON"); }

 private:
  bool fail(std::string fault) {
    fault_ = std::move(fault);
    return false;
  }

  /// Where the next value goes.
  template <class Value>
  json* place(Value&& value) {
    if (open_.empty()) return &(root_ = std::forward<Value>(value));
    if (open_.back()->is_object()) return &(*member_ = std::forward<Value>(value));
    return &open_.back()->get_ref<json::array_t&>().emplace_back(std::forward<Value>(value));
  }
  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(json empty) {
    if (open_.size() >= kMaxJsonDepth) return fail(text("is nested more than ", kMaxJsonDepth, " deep"));
    open_.push_back(place(std::move(empty)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  json& root_;
  std::vector<json*> open_;  ///< the arrays and objects around the next value; a vector's last element stays in place
  json* member_ = nullptr;   ///< of the innermost object, whose key was read
  std::string fault_;
};

}  // namespace

json parse_json(std::string_view text_, const std::string& where, const std::string& hint) {
  json root;
  Builder builder(root);
  const bool ok = json::sax_parse(text_.begin(), text_.end(), &builder);
  check(ok && builder.fault().empty(), where, builder.fault().empty() ? "is not JSON" : builder.fault(), hint);
  return root;
}

std::optional<json> try_parse_json(std::string_view text) {
  json root;
  Builder builder(root);
  return json::sax_parse(text.begin(), text.end(), &builder) ? std::optional(std::move(root)) : std::nullopt;
}

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(json(text).dump());
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

}  // namespace retort
