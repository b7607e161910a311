// numpy.save(path, {name: vector}) writes a 0-d object array whose one element is the dict.
#include <cstring>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/io/npy.h"
#include "engine/io/npy_header.h"
#include "engine/io/pickle.h"

namespace retort {
namespace {

using pickle::Kind;
using pickle::Value;

/// The dict within the object array.
const Value& find_dict(const Value& root, const std::string& path) {
  const bool holder = root.kind == Kind::array && root.items.size() == 3 && root.items[0]->kind == Kind::tuple &&
                      root.items[0]->items.empty() && dtype_name(*root.items[1]) == "|O" &&
                      root.items[2]->kind == Kind::list && root.items[2]->items.size() == 1;
  check(holder && root.items[2]->items[0]->kind == Kind::dict, path,
        ": its pickle holds no dict; save it with numpy.save(path, {name: vector})");
  return *root.items[2]->items[0];
}

template <class T>
std::vector<float> convert(std::string_view bytes, const std::string& where) {
  check(bytes.size() % sizeof(T) == 0, where, "has elements cut short; save it again");
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
    values[i] = static_cast<float>(element);
  }
  return values;
}

std::vector<float> array_values(const Value& array, const std::string& where) {
  check(array.items.size() == 3 && array.items[0]->kind == Kind::tuple, where, "is no complete array; save it again");
  const std::vector<const Value*>& shape = array.items[0]->items;
  check(shape.size() == 1 && shape[0]->kind == Kind::integer, where, "has ", shape.size(),
        " axes, expected one vector of logits; save x.ravel()");
  const std::string dtype = dtype_name(*array.items[1]);
  const Value& data = *array.items[2];
  check((dtype == "<f4" || dtype == "<f8") && (data.kind == Kind::bytes || data.kind == Kind::text), where,
        "has dtype '", dtype, "', expected '<f4' or '<f8'; save x.astype('<f4')");
  std::vector<float> values = dtype == "<f4" ? convert<float>(data.bytes, where) : convert<double>(data.bytes, where);
  check(static_cast<std::int64_t>(values.size()) == shape[0]->integer, where, "has ", values.size(),
        " elements, but shape (", shape[0]->integer, ",); save it again");
  return values;
}

std::vector<float> list_values(const Value& list, const std::string& where) {
  std::vector<float> values;
  values.reserve(list.items.size());
  for (const Value* item : list.items) {
    check(item->kind == Kind::real || item->kind == Kind::integer, where,
          "is a list of something else than numbers; save a vector of logits");
    values.push_back(item->kind == Kind::real ? static_cast<float>(item->real) : static_cast<float>(item->integer));
  }
  return values;
}

}  // namespace

std::vector<std::pair<std::string, std::vector<float>>> read_pickled_dict(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_file(path);
  const NpyHeader header = read_npy_header(InputFile(path), path);
  check(header.descr == "|O", path, ": holds no pickled dict but an array of dtype '", header.descr,
        "'; give a logit store's .npy with its .json beside it");
  check(header.data_at <= bytes.size(), path, ": pickle is cut short; copy or save it again");
  const std::span<const std::uint8_t> all = bytes;
  const pickle::Pickle content(all.subspan(header.data_at), path);
  const Value& dict = find_dict(content.root(), path);

  // Every entry may refer to one long vector: the file's size does not bound what it expands to, so this does.
  std::uint64_t elements_left = 4 * bytes.size() + (1u << 20);
  std::vector<std::pair<std::string, std::vector<float>>> entries;
  std::unordered_set<std::string> names;
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    const Value& key = *dict.items[i];
    const Value& value = *dict.items[i + 1];
    check(key.kind == Kind::text, path, ": entry ", i / 2,
          " of its dict has a key that is no string; save {name: vector}");
    const std::string where = text(path, ": entry '", key.bytes, "' ");
    check(value.kind == Kind::array || value.kind == Kind::list || value.kind == Kind::tuple, where,
          "is no vector; save {name: vector}");
    check(names.insert(std::string(key.bytes)).second, where, "is there twice; save it again");
    const std::uint64_t elements = value.kind == Kind::array && value.items.size() == 3
                                       ? value.items[2]->bytes.size() / sizeof(float)
                                       : value.items.size();
    check(elements <= elements_left, where, "makes the dict larger than its file can hold; save it again");
    elements_left -= elements;
    entries.emplace_back(key.bytes, value.kind == Kind::array ? array_values(value, where) : list_values(value, where));
  }
  return entries;
}

}  // namespace retort
