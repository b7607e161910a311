#include "models/graph/spec.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/json.h"

namespace retort {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxNodes = 1 << 16, kMaxValues = 1 << 16;

/// A number as JSON has it: infinities, which it has not, as words.
Json value_json(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double value_of(const Json& json, const std::string& where) {
  if (json == "inf") return INFINITY;
  if (json == "-inf") return -INFINITY;
  check(json.is_number(), where, ": its graph has an attribute that is no number; save the model again");
  return json.get<double>();
}

GraphNode node_of(const Json& json, std::size_t index, const std::string& where) {
  const auto expect = [&](bool ok) {
    check(ok, where, ": its graph's node ", index, " is not as expected; save the model again");
  };
  expect(json.is_object() && json.contains("name") && json.contains("op") && json.contains("inputs"));
  expect(json["name"].is_string() && json["op"].is_string() && json["inputs"].is_array());
  GraphNode node{json["name"].get<std::string>(), json["op"].get<std::string>(), {}, {}};
  expect(!node.name.empty());
  for (const Json& input : json["inputs"]) {
    expect(input.is_number_integer() && input.get<std::int64_t>() >= 0 &&
           input.get<std::int64_t>() <= static_cast<std::int64_t>(index));
    node.inputs.push_back(input.get<std::int64_t>());
  }
  expect(!node.inputs.empty());
  if (!json.contains("attributes")) return node;
  expect(json["attributes"].is_object());
  for (const auto& [key, values] : json["attributes"].items()) {
    expect(values.is_array() && values.size() <= kMaxValues);
    for (const Json& value : values) node.attributes[key].push_back(value_of(value, where));
  }
  return node;
}

}  // namespace

double GraphNode::number(const std::string& key) const {
  const auto found = attributes.find(key);
  check(found != attributes.end() && found->second.size() == 1, "node ", name, " (", op, "): its `", key,
        "` is missing, expected one number; save the model again");
  return found->second[0];
}

double GraphNode::number(const std::string& key, double otherwise) const {
  return attributes.contains(key) ? number(key) : otherwise;
}

std::int64_t GraphNode::integer(const std::string& key, std::int64_t low, std::int64_t high) const {
  const double value = number(key);
  check(value >= static_cast<double>(low) && value <= static_cast<double>(high) && value == std::floor(value), "node ",
        name, " (", op, "): its `", key, "` is ", value, ", expected a whole number from ", low, " to ", high,
        "; export the model again");
  return static_cast<std::int64_t>(value);
}

std::int64_t GraphNode::integer(const std::string& key, std::int64_t low, std::int64_t high,
                                std::int64_t otherwise) const {
  return attributes.contains(key) ? integer(key, low, high) : otherwise;
}

std::string to_json(const GraphSpec& spec) {
  Json nodes = Json::array();
  for (const GraphNode& node : spec.nodes) {
    Json attributes = Json::object();
    for (const auto& [key, values] : node.attributes) {
      attributes[key] = Json::array();
      for (const double value : values) attributes[key].push_back(value_json(value));
    }
    nodes.push_back({{"name", node.name}, {"op", node.op}, {"inputs", node.inputs}, {"attributes", attributes}});
  }
  return json_text(Json{{"nodes", nodes}});
}

GraphSpec graph_from_json(const std::string& text, const std::string& where) {
  const Json json = try_parse_json(text).value_or(Json());
  check(json.is_object() && json.contains("nodes") && json["nodes"].is_array() && !json["nodes"].empty() &&
            json["nodes"].size() <= kMaxNodes,
        where, ": its metadata has a `graph` that is no list of nodes; save the model again");
  GraphSpec spec;
  std::set<std::string> names;
  for (std::size_t i = 0; i < json["nodes"].size(); ++i) {
    spec.nodes.push_back(node_of(json["nodes"][i], i, where));
    check(names.insert(spec.nodes.back().name).second, where, ": its graph has two nodes called ",
          spec.nodes.back().name, "; save the model again");
  }
  return spec;
}

}  // namespace retort
