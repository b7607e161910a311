#include "models/pytorch.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/pickle.h"
#include "engine/io/zip.h"
#include "models/graph/array.h"

namespace retort {
namespace {

using pickle::Kind;
using pickle::Value;
using Bytes = std::span<const std::uint8_t>;

/// torch.save's magic number, protocol 2, before 1.6.
constexpr std::string_view kLegacyMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);

/// Elements of a storage class: their bytes, and whether floats.
struct Element {
  std::string_view storage;
  std::size_t bytes;
  enum class As : std::uint8_t { f32, f64, f16, bf16, i64 } as;
};
constexpr Element kElements[] = {{"torch.FloatStorage", 4, Element::As::f32},
                                 {"torch.DoubleStorage", 8, Element::As::f64},
                                 {"torch.HalfStorage", 2, Element::As::f16},
                                 {"torch.BFloat16Storage", 2, Element::As::bf16},
                                 {"torch.LongStorage", 8, Element::As::i64}};

const Element* element_of(std::string_view storage) {
  for (const Element& element : kElements)
    if (element.storage == storage) return &element;
  return nullptr;
}

std::string shown(std::string_view name) {
  std::string result(name.substr(0, 100));
  for (char& c : result)
    if (c < ' ' || c > '~') c = '?';
  return result;
}

const Value* entry(const Value& dict, std::string_view key) {
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2)
    if (dict.items[i]->kind == Kind::text && dict.items[i]->bytes == key) return dict.items[i + 1];
  return nullptr;
}

bool holds_tensors(const Value& value) {
  if (value.kind != Kind::dict) return false;
  for (std::size_t i = 1; i < value.items.size(); i += 2)
    if (value.items[i]->kind == Kind::tensor) return true;
  return false;
}

/// The dict of tensors that is meant.
const Value& choose_state(const Value& root, const std::string& path, const std::string& wanted,
                          std::vector<std::string>& said) {
  if (root.kind == Kind::object)
    throw Error(text(path, ": holds a whole module of the class ", shown(root.bytes),
                     ", expected a state dict; in PyTorch, torch.save(model.state_dict(), FILE) writes one"));
  check(root.kind == Kind::dict, path, ": holds no dictionary of tensors; in PyTorch, torch.save(model.state_dict(), ",
        "FILE) writes one");
  std::vector<std::string> states;
  for (std::size_t i = 0; i + 1 < root.items.size(); i += 2)
    if (root.items[i]->kind == Kind::text && holds_tensors(*root.items[i + 1]))
      states.emplace_back(root.items[i]->bytes);
  if (!wanted.empty()) {
    check(std::ranges::find(states, wanted) != states.end(), path, ": has no state `", shown(wanted), "`, expected ",
          states.empty() ? "none, as it holds one state alone" : alternatives(states), "; leave ::", shown(wanted),
          " out, or name another");
    return *entry(root, wanted);
  }
  if (holds_tensors(root)) return root;
  if (const auto whole = std::ranges::find_if(root.items, [](const Value* item) { return item->kind == Kind::object; });
      states.empty() && whole != root.items.end())
    throw Error(text(path, ": holds a whole module of the class ", shown((*whole)->bytes),
                     ", expected a state dict; in PyTorch, torch.save(model.state_dict(), FILE) writes one"));
  check(!states.empty(), path,
        ": holds no tensors; in PyTorch, torch.save(model.state_dict(), FILE) writes a network's");
  std::string chosen = states[0];
  for (const char* usual : {"state_dict", "model", "model_state_dict", "net"})
    if (std::ranges::find(states, usual) != states.end()) {
      chosen = usual;
      break;
    }
  if (states.size() > 1)
    said.push_back(text(path, ": holds the states ", alternatives(states), "; ", chosen, " is read (", path,
                        "::", chosen == states[0] ? states[1] : states[0], " reads another)"));
  return *entry(root, chosen);
}

std::vector<std::int64_t> integers_of(const Value& tuple, const std::string& where) {
  check(tuple.kind == Kind::tuple || tuple.kind == Kind::list, where, ": its shape is none; save it again");
  std::vector<std::int64_t> result;
  for (const Value* item : tuple.items) {
    check(item->kind == Kind::integer, where, ": its shape is none; save it again");
    result.push_back(item->integer);
  }
  return result;
}

/// A tensor's place in its storage.
struct View {
  std::vector<std::int64_t> size, stride;
  std::int64_t offset = 0, count = 0;

  /// Calls f(index in the storage) for each element in row-major order.
  template <class F>
  void each(const F& f) const {
    for (std::int64_t i = 0; i < count; ++i) {
      std::int64_t at = offset, rest = i;
      for (std::size_t axis = size.size(); axis-- > 0; rest /= size[axis]) at += rest % size[axis] * stride[axis];
      f(at);
    }
  }
};

View view_of(const Value& tensor, std::int64_t elements, const std::string& where) {
  View view{integers_of(*tensor.items[2], where), integers_of(*tensor.items[3], where), 0, 0};
  check(tensor.items[1]->kind == Kind::integer && view.size.size() == view.stride.size(), where,
        ": its record is damaged; save it again");
  view.offset = tensor.items[1]->integer;
  view.count = checked_count(view.size);
  check(view.count >= 0 && view.count <= elements, where, ": has more elements than its storage of ", elements,
        " (expanded, or damaged); save it after .contiguous()");
  std::int64_t last = view.offset;
  bool inside = view.offset >= 0;
  for (std::size_t i = 0; inside && i < view.size.size(); ++i) {
    inside = view.stride[i] >= 0 && view.stride[i] <= elements && last <= elements;
    last += inside && view.size[i] > 0 ? (view.size[i] - 1) * view.stride[i] : 0;
  }
  check(inside && (view.count == 0 || last < elements), where, ": reaches beyond its storage of ", elements,
        " elements; copy or save it again");
  return view;
}

Shape shape_of(const std::vector<std::int64_t>& size) {
  switch (size.size()) {
    case 0: return {};
    case 1: return {size[0]};
    case 2: return {size[0], size[1]};
    case 3: return {size[0], size[1], size[2]};
    default: return {size[0], size[1], size[2], size[3]};
  }
}

template <class Stored, class T, class Convert>
Tensor read_elements(Bytes storage, const View& view, const Convert& convert) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(view.count));
  view.each([&](std::int64_t at) {
    Stored value;
    std::memcpy(&value, storage.data() + static_cast<std::size_t>(at) * sizeof value, sizeof value);
    values.push_back(convert(value));
  });
  return Tensor::from<T>(shape_of(view.size), std::span<const T>(values));
}

Tensor tensor_of(const Element& element, Bytes storage, const View& view) {
  const auto same = [](auto value) { return value; };
  switch (element.as) {
    case Element::As::f32: return read_elements<float, float>(storage, view, same);
    case Element::As::f64: return read_elements<double, double>(storage, view, same);
    case Element::As::i64: return read_elements<std::int64_t, std::int64_t>(storage, view, same);
    case Element::As::f16: return read_elements<std::uint16_t, float>(storage, view, half_to_float);
    case Element::As::bf16: break;
  }
  return read_elements<std::uint16_t, float>(storage, view, [](std::uint16_t bits) {
    const std::uint32_t wide = std::uint32_t{bits} << 16;
    float value = 0;
    std::memcpy(&value, &wide, sizeof value);
    return value;
  });
}

/// Where the elements of storages lie, by key.
using FindStorage = std::function<std::optional<Bytes>(const std::string& key)>;

void read_tensors(const Value& state, const std::string& path, const FindStorage& find, std::uint64_t budget,
                  Checkpoint& checkpoint) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i + 1 < state.items.size(); i += 2) {
    const Value &key = *state.items[i], &value = *state.items[i + 1];
    if (key.kind != Kind::text || value.kind != Kind::tensor) continue;
    const std::string where = text(path, ": tensor ", shown(key.bytes));
    const Value& storage = *value.items[0];
    check(storage.items[1]->kind == Kind::global && storage.items[2]->kind == Kind::text &&
              storage.items[4]->kind == Kind::integer,
          where, ": its storage's record is damaged; save it again");
    const Element* element = element_of(storage.items[1]->bytes);
    if (!element) {
      checkpoint.said.push_back(text(where, " is of ", shown(storage.items[1]->bytes), " and is left out"));
      continue;
    }
    const std::optional<Bytes> bytes = find(std::string(storage.items[2]->bytes));
    check(bytes.has_value(), where, ": its storage ", shown(storage.items[2]->bytes),
          " is missing; copy or save the file again");
    const auto elements = static_cast<std::int64_t>(bytes->size() / element->bytes);
    check(storage.items[4]->integer >= 0 && storage.items[4]->integer <= elements, where, ": its storage has ",
          elements, " elements where ", storage.items[4]->integer, " are claimed; copy or save the file again");
    const View view = view_of(value, elements, where);
    check(view.size.size() <= Shape::kMaxRank, where, ": has ", view.size.size(), " axes, expected at most ",
          Shape::kMaxRank, "; give a classifier's weights");
    total += static_cast<std::uint64_t>(view.count) * element->bytes;
    check(total <= budget, where, ": the file's tensors are views of ever the same elements; save it after .clone()");
    checkpoint.file.tensors.emplace_back(key.bytes, tensor_of(*element, *bytes, view));
  }
}

/// Drops a prefix that all names have.
void strip(TensorFile& file, std::string_view prefix) {
  const auto begins = [&](const auto& entry) { return entry.first.starts_with(prefix); };
  if (file.tensors.empty() || !std::ranges::all_of(file.tensors, begins)) return;
  for (auto& [name, tensor] : file.tensors) name.erase(0, prefix.size());
}

/// timm's VGG keeps the classifier's first layers as convolutions over the last map: the same numbers in the same
/// order.
void rename_timm(TensorFile& file) {
  if (!file.find("pre_logits.fc1.weight")) return;
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"pre_logits.fc1.", "classifier.0."}, {"pre_logits.fc2.", "classifier.3."}, {"head.fc.", "classifier.6."}};
  for (auto& [name, tensor] : file.tensors)
    for (const auto& [from, to] : kNames)
      if (name.starts_with(from)) {
        name = std::string(to) + name.substr(from.size());
        if (tensor.shape().rank() == 4)
          tensor = tensor.reshaped({tensor.shape()[0], tensor.count() / tensor.shape()[0]});
      }
}

void read_zip(const std::string& path, const std::string& state, Checkpoint& checkpoint) {
  const ZipFile zip(path);
  const auto data = std::ranges::find_if(zip.members(), [](const ZipFile::Member& member) {
    return member.name == "data.pkl" ||
           (member.name.ends_with("/data.pkl") && std::ranges::count(member.name, '/') == 1);
  });
  check(!zip.find("config.json"), path,
        ": is one of Keras's .keras files, which are not read here; export it as ONNX "
        "with tf2onnx");
  check(data != zip.members().end(), path,
        ": is a zip without a data.pkl, expected what torch.save writes; save the "
        "network's state_dict() so");
  const std::string folder = data->name.substr(0, data->name.size() - std::string_view("data.pkl").size());
  check(!zip.find(folder + "constants.pkl"), path,
        ": is a TorchScript program, expected a state dict; in PyTorch, "
        "torch.save(model.state_dict(), FILE) writes one");
  if (const ZipFile::Member* order = zip.find(folder + "byteorder")) {
    const Bytes word = zip.content(*order);
    check(std::string_view(reinterpret_cast<const char*>(word.data()), word.size()) == "little", path,
          ": was saved on a big-endian machine; save it again on another");
  }
  const pickle::Pickle pickle(zip.content(*data), path, pickle::Dialect::pytorch);
  const FindStorage find = [&](const std::string& key) -> std::optional<Bytes> {
    const ZipFile::Member* member = zip.find(folder + "data/" + key);
    return member ? std::optional(zip.content(*member)) : std::nullopt;
  };
  const std::uint64_t size = std::filesystem::file_size(path);
  read_tensors(choose_state(pickle.root(), path, state, checkpoint.said), path, find, 4 * size, checkpoint);
}

/// Magic, version, the machine's sizes, the object, the keys of its storages, and these one after the other.
void read_legacy(const std::string& path, const std::string& state, Checkpoint& checkpoint) {
  const std::vector<std::uint8_t> content = read_file(path);
  Bytes left = Bytes(content).subspan(kLegacyMagic.size());
  const auto next = [&] {
    std::size_t taken = 0;
    auto pickle = std::make_unique<pickle::Pickle>(left, path, pickle::Dialect::pytorch, &taken);
    left = left.subspan(taken);
    return pickle;
  };
  next();
  next();
  const auto object = next(), keys = next();
  check(keys->root().kind == Kind::list, path, ": has no list of storages; save it again");
  // How many bytes a storage's element has, its class alone says.
  std::map<std::string, std::size_t> widths;
  const Value& chosen = choose_state(object->root(), path, state, checkpoint.said);
  const auto note = [&](const Value& dict) {
    for (const Value* item : dict.items)
      if (item->kind == Kind::tensor && item->items[0]->items[2]->kind == Kind::text)
        if (const Element* element = element_of(item->items[0]->items[1]->bytes))
          widths[std::string(item->items[0]->items[2]->bytes)] = element->bytes;
  };
  note(object->root());
  for (const Value* item : object->root().items)
    if (item->kind == Kind::dict) note(*item);
  std::map<std::string, Bytes> storages;
  for (const Value* key : keys->root().items) {
    check(key->kind == Kind::text && left.size() >= 8, path, ": is cut short; copy or save it again");
    std::int64_t elements = 0;
    std::memcpy(&elements, left.data(), sizeof elements);
    left = left.subspan(8);
    const auto width = widths.find(std::string(key->bytes));
    check(width != widths.end(), path, ": its storage ", shown(key->bytes),
          " is of a type that is not read here; save the state_dict() alone");
    check(elements >= 0 && static_cast<std::uint64_t>(elements) <= left.size() / width->second, path,
          ": is cut short; copy or save it again");
    const auto bytes = static_cast<std::size_t>(elements) * width->second;
    storages[width->first] = left.first(bytes);
    left = left.subspan(bytes);
  }
  const FindStorage find = [&](const std::string& key) -> std::optional<Bytes> {
    const auto found = storages.find(key);
    return found == storages.end() ? std::nullopt : std::optional(found->second);
  };
  read_tensors(chosen, path, find, 4 * content.size(), checkpoint);
}

}  // namespace

Checkpoint read_pytorch(const std::string& path, const std::string& state) {
  Checkpoint checkpoint;
  const InputFile file(path);
  std::string head(std::min<std::size_t>(file.size(), kLegacyMagic.size()), '\0');
  file.read(0, {reinterpret_cast<std::uint8_t*>(head.data()), head.size()});
  if (head.starts_with("PK")) {
    read_zip(path, state, checkpoint);
  } else {
    check(head == kLegacyMagic, path, ": is a pickle that torch.save did not write; give a network's state dict");
    read_legacy(path, state, checkpoint);
  }
  for (const char* prefix : {"_orig_mod.", "module.", "_orig_mod."}) strip(checkpoint.file, prefix);
  rename_timm(checkpoint.file);
  return checkpoint;
}

}  // namespace retort
