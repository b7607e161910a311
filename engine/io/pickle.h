// Python's pickle, as far as plain data and NumPy arrays go. A pickle is a program for a small stack machine, and some
// of its instructions call any function by name; this machine lacks those. It knows the protocols 0 to 5, builds
// values, and refuses by name every opcode and every global that is not needed for arrays, strings, numbers, lists,
// tuples and dicts.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::pickle {

enum class Kind : std::uint8_t {
  none,
  boolean,  ///< integer
  integer,  ///< integer
  real,     ///< real
  text,     ///< bytes, as UTF-8; Python 2's str as it is
  bytes,    ///< bytes
  tuple,    ///< items
  list,     ///< items
  dict,     ///< items: key, value, key, value, ...
  global,   ///< bytes: one of the few names allowed
  dtype,    ///< bytes: "f4", "<f4", "O8"...; items: its state, if set
  array,    ///< items: shape, dtype, data; empty until its state is set
  storage,  ///< PyTorch's: items: "storage", its class, key, place, elements
  tensor,   ///< PyTorch's: items: storage, offset, size, stride, ...
  object    ///< of a class that is not known: bytes: its name; nothing else of it is kept
};

/// What a pickle may hold beside plain data.
enum class Dialect : std::uint8_t {
  numpy,   ///< NumPy's arrays and nothing else
  pytorch  ///< PyTorch's tensors; what is of another class stays an object without content, of which nothing is run
};

struct Value {
  Kind kind = Kind::none;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view bytes;
  std::vector<const Value*> items;
};

/// Runs the pickle in `bytes`, which must outlive the values. Throws Error, its message beginning with `path`, for an
/// opcode or a global beyond plain data, and for what is malformed or cut short. Memory is at most 64 bytes for each of
/// the input, and some hundred kilobytes.
class Pickle {
 public:
  /// Another pickle may follow only where `read` is given, which receives the bytes of this one.
  Pickle(std::span<const std::uint8_t> bytes, const std::string& path, Dialect dialect = Dialect::numpy,
         std::size_t* read = nullptr);
  const Value& root() const { return *root_; }

 private:
  friend class Machine;
  std::deque<Value> values_;         ///< owns all of them: values may refer to each other in cycles
  std::deque<std::string> decoded_;  ///< text that does not stand in the input as it is
  const Value* root_ = nullptr;
};

/// A dtype's name with its byte order first, "<f4", "|O"; empty if `value` is no dtype.
std::string dtype_name(const Value& value);

}  // namespace retort::pickle
