// Opcodes and their arguments as documented in CPython's Lib/pickletools.py.
#include "engine/io/pickle.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <unordered_map>

#include "engine/core/check.h"
#include "engine/io/pickle_text.h"

namespace retort::pickle {
namespace {

/// It suffices for the arrays of a million images.
constexpr std::int64_t kMaxOperations = 1 << 26;
/// Values that one byte of a pickle can make beyond the shared ones are containers, and those of real files hold
/// something: one value for every two bytes, and a few for small files.
constexpr std::size_t kBytesPerValue = 2, kFreeValues = 4096;

constexpr std::string_view kReconstruct = "numpy.core.multiarray._reconstruct",
                           kScalar = "numpy.core.multiarray.scalar", kFromBuffer = "numpy.core.numeric._frombuffer",
                           kNdarray = "numpy.ndarray", kDtype = "numpy.dtype", kEncode = "_codecs.encode";

/// The name under which an allowed global is known here; empty for any other.
std::string_view allowed_global(std::string_view module, std::string_view name) {
  // NumPy 2 renamed numpy.core.
  if (module == "numpy._core.multiarray") module = "numpy.core.multiarray";
  if (module == "numpy._core.numeric") module = "numpy.core.numeric";
  for (const std::string_view full : {kReconstruct, kScalar, kFromBuffer, kNdarray, kDtype, kEncode}) {
    const std::size_t dot = full.rfind('.');
    if (module == full.substr(0, dot) && name == full.substr(dot + 1)) return full;
  }
  return {};
}

std::string opcode_name(std::uint8_t opcode) {
  switch (opcode) {
    case 'i': return "INST";
    case 'o': return "OBJ";
    case 'P': return "PERSID";
    case 'Q': return "BINPERSID";
    case 0x81: return "NEWOBJ";
    case 0x82: return "EXT1";
    case 0x83: return "EXT2";
    case 0x84: return "EXT4";
    case 0x8f: return "EMPTY_SET";
    case 0x90: return "ADDITEMS";
    case 0x91: return "FROZENSET";
    case 0x92: return "NEWOBJ_EX";
    case 0x97: return "NEXT_BUFFER";
    case 0x98: return "READONLY_BUFFER";
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  return text("0x", kDigits[opcode >> 4], kDigits[opcode & 15]);
}

}  // namespace

class Machine {
 public:
  Machine(std::span<const std::uint8_t> bytes, const std::string& path, Pickle& pickle)
      : input_(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
        path_(path),
        pickle_(pickle),
        decoded_left_(4 * bytes.size() + 4096),
        values_left_(bytes.size() / kBytesPerValue + kFreeValues) {}

  void run() {
    for (std::int64_t operation = 0; operation < kMaxOperations; ++operation)
      if (!step(static_cast<std::uint8_t>(take(1)[0]))) return;
    malformed("more than ", kMaxOperations, " operations");
  }

 private:
  template <class... Parts>
  [[noreturn]] void malformed(const Parts&... parts) const {
    throw Error(text(path_, ": malformed pickle: ", parts..., ", at byte ", at_, "; save it again"));
  }

  void require(bool ok, const char* what) const {
    if (!ok) malformed(what);
  }

  [[noreturn]] void refuse(std::string what) const {
    if (what.size() > 100) what = what.substr(0, 100) + "...";
    for (char& c : what)
      if (c < ' ' || c > '~') c = '?';
    throw Error(
        text(path_, ": pickle asks for ", what, "; only plain dictionaries of arrays are read; nothing was executed"));
  }

  // Input.

  std::string_view take(std::uint64_t bytes) {
    check(bytes <= input_.size() - at_, path_, ": pickle is cut short; copy or save it again");
    const std::string_view taken = input_.substr(at_, bytes);
    at_ += bytes;
    return taken;
  }

  /// An unsigned little-endian integer.
  std::uint64_t take_integer(int bytes) {
    std::uint64_t value = 0;
    const std::string_view taken = take(static_cast<std::uint64_t>(bytes));
    for (int i = bytes; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(taken[static_cast<std::size_t>(i)]);
    return value;
  }

  std::string_view take_line() {
    const std::size_t end = input_.find('\n', at_);
    check(end != input_.npos, path_, ": pickle is cut short; copy or save it again");
    const std::string_view line = take(end - at_);
    take(1);
    return line;
  }

  template <class T>
  T take_number(std::string_view line) {
    T value{};
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    require(error == std::errc() && end == line.data() + line.size(), "a number that is none");
    return value;
  }

  // Values.

  Value* make(Kind kind) {
    require(values_left_-- > 0, "more values than its bytes can hold");
    Value& value = pickle_.values_.emplace_back();
    value.kind = kind;
    return &value;
  }

  /// None, the booleans, small numbers and the empty tuple never change: one value of each serves all their uses.
  void push_shared(Kind kind, std::int64_t integer = 0) {
    Value*& value = shared_[{kind, integer}];
    if (!value) {
      value = make(kind);
      value->integer = integer;
    }
    push(value);
  }

  void push(Value* value) { stack_.push_back(value); }

  void push_integer(std::int64_t integer, Kind kind = Kind::integer) {
    push(make(kind));
    stack_.back()->integer = integer;
  }

  void push_real(double real) {
    push(make(Kind::real));
    stack_.back()->real = real;
  }

  void push_bytes(Kind kind, std::string_view bytes) {
    push(make(kind));
    stack_.back()->bytes = bytes;
  }

  /// Decoded text is new memory: a small pickle must not decode one long string again and again.
  void push_decoded(Kind kind, std::optional<std::string> decoded) {
    require(decoded.has_value(), "text that cannot be decoded");
    require(decoded->size() <= decoded_left_, "text that grows without bound");
    decoded_left_ -= decoded->size();
    push_bytes(kind, pickle_.decoded_.emplace_back(std::move(*decoded)));
  }

  Value* top() const {
    require(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "nothing on the stack");
    return stack_.back();
  }

  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }

  /// Everything above the last mark, which goes too.
  std::vector<const Value*> pop_to_mark() {
    require(!marks_.empty(), "no mark on the stack");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const Value*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_items(Kind kind, std::vector<const Value*> items) {
    require(kind != Kind::dict || items.size() % 2 == 0, "a key without a value");
    push(make(kind));
    stack_.back()->items = std::move(items);
  }

  void push_tuple(std::size_t size) {
    std::vector<const Value*> items(size);
    for (std::size_t i = size; i-- > 0;) items[i] = pop();
    push_items(Kind::tuple, std::move(items));
  }

  void append(const std::vector<const Value*>& items, Kind kind) {
    Value* container = top();
    require(container->kind == kind, kind == Kind::list ? "items for what is no list" : "items for what is no dict");
    require(kind != Kind::dict || items.size() % 2 == 0, "a key without a value");
    container->items.insert(container->items.end(), items.begin(), items.end());
  }

  void get(std::uint64_t index) {
    if (index < memo_.size()) return push(memo_[index]);
    const auto found = far_memo_.find(index);
    require(found != far_memo_.end(), "a reference to nothing");
    push(found->second);
  }

  /// Writers number what they note from 0 on; what is out of order costs more, and its bytes pay for it.
  void put(std::uint64_t index) {
    if (index < memo_.size())
      memo_[index] = top();
    else if (index == memo_.size())
      memo_.push_back(top());
    else
      far_memo_[index] = top();
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string_view known = allowed_global(module, name);
    if (known.empty()) refuse(text(module, '.', name));
    push_bytes(Kind::global, known);
  }

  // The three things that are "called": what NumPy needs to rebuild an array. None runs anything.

  void reduce() {
    const Value* arguments = pop();
    const Value* function = pop();
    if (function->kind != Kind::global) refuse("a call (REDUCE) of what is no function");
    require(arguments->kind == Kind::tuple, "a call without a tuple of arguments");
    const std::vector<const Value*>& items = arguments->items;
    const auto is = [&](std::size_t i, Kind kind) { return i < items.size() && items[i]->kind == kind; };
    if (function->bytes == kReconstruct) {
      require(is(0, Kind::global) && items[0]->bytes == kNdarray, "an array of another class");
      push(make(Kind::array));
    } else if (function->bytes == kFromBuffer) {
      require(items.size() == 4 && is(1, Kind::dtype) && is(2, Kind::tuple), "an array that cannot be rebuilt");
      push_items(Kind::array, {items[2], items[1], items[0]});
    } else if (function->bytes == kDtype) {
      require(is(0, Kind::text), "a dtype without a name");
      push_bytes(Kind::dtype, items[0]->bytes);
    } else if (function->bytes == kScalar) {
      require(items.size() == 2 && is(0, Kind::dtype) && (is(1, Kind::bytes) || is(1, Kind::text)),
              "a scalar that cannot be rebuilt");
      push_scalar(dtype_name(*items[0]), items[1]->bytes);
    } else if (function->bytes == kEncode) {
      require(items.size() == 2 && is(0, Kind::text) && is(1, Kind::text) && items[1]->bytes == "latin1",
              "an encoding other than latin1");
      push_decoded(Kind::bytes, utf8_to_latin1(items[0]->bytes));
    } else {
      refuse(text("a call of ", function->bytes));
    }
  }

  void push_scalar(const std::string& dtype, std::string_view bytes) {
    const auto as = [&]<class T>(T value) {
      require(bytes.size() == sizeof value, "a scalar of another size");
      std::memcpy(&value, bytes.data(), sizeof value);
      return value;
    };
    if (dtype == "<f4") return push_real(as(float{}));
    if (dtype == "<f8") return push_real(as(double{}));
    if (dtype == "<i4") return push_integer(as(std::int32_t{}));
    if (dtype == "<i8") return push_integer(as(std::int64_t{}));
    if (dtype.starts_with("<U")) return push_decoded(Kind::text, utf32_to_utf8(bytes));
    refuse("a scalar of dtype " + dtype);
  }

  void build() {
    const Value* state = pop();
    Value* object = top();
    if (object->kind != Kind::array && object->kind != Kind::dtype) refuse("the state of an object (BUILD)");
    require(state->kind == Kind::tuple, "a state that is no tuple");
    if (object->kind == Kind::array) {
      require(state->items.size() == 5, "an array's state of another length");  // version, shape, dtype, fortran, data
      object->items = {state->items[1], state->items[2], state->items[4]};
    } else {
      require(state->items.size() >= 2 && state->items[1]->kind == Kind::text, "a dtype's state of another form");
      object->items = {state->items[1]};  // the byte order
    }
  }

  /// Runs one instruction; false at STOP.
  bool step(std::uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const std::uint64_t protocol = take_integer(1);
        if (protocol > 5) refuse(text("protocol ", protocol));
        return true;
      }
      case 0x95: take(8); return true;  // FRAME: a hint for reading
      case '.':                         // STOP
        pickle_.root_ = pop();
        require(at_ == input_.size(), "bytes after its end");
        return false;

      case '(': marks_.push_back(stack_.size()); return true;  // MARK
      case '0': pop(); return true;                            // POP
      case '1': pop_to_mark(); return true;                    // POP_MARK
      case '2': push(top()); return true;                      // DUP
      case 'g': get(take_number<std::uint64_t>(take_line())); return true;
      case 'h': get(take_integer(1)); return true;  // BINGET
      case 'j': get(take_integer(4)); return true;  // LONG_BINGET
      case 'p': put(take_number<std::uint64_t>(take_line())); return true;
      case 'q': put(take_integer(1)); return true;                   // BINPUT
      case 'r': put(take_integer(4)); return true;                   // LONG_BINPUT
      case 0x94: put(memo_.size() + far_memo_.size()); return true;  // MEMOIZE

      case 'N': push_shared(Kind::none); return true;
      case 0x88: push_shared(Kind::boolean, 1); return true;  // NEWTRUE
      case 0x89: push_shared(Kind::boolean, 0); return true;  // NEWFALSE
      case 'I': return step_int(take_line());
      case 'L': {  // LONG
        std::string_view line = take_line();
        if (line.ends_with('L')) line.remove_suffix(1);
        push_integer(take_number<std::int64_t>(line));
        return true;
      }
      case 'J': push_integer(static_cast<std::int32_t>(take_integer(4))); return true;                // BININT
      case 'K': push_shared(Kind::integer, static_cast<std::int64_t>(take_integer(1))); return true;  // BININT1
      case 'M': push_integer(static_cast<std::int64_t>(take_integer(2))); return true;                // BININT2
      case 0x8a: return step_long(take_integer(1));                                                   // LONG1
      case 0x8b: return step_long(take_integer(4));                                                   // LONG4
      case 'F': push_real(take_number<double>(take_line())); return true;
      case 'G': {  // BINFLOAT: big-endian
        std::string reversed(take(8));
        std::ranges::reverse(reversed);
        double value;
        std::memcpy(&value, reversed.data(), sizeof value);
        push_real(value);
        return true;
      }

      case 'S': push_decoded(Kind::text, unescape_repr(take_line())); return true;         // STRING
      case 'T': push_bytes(Kind::text, take(take_integer(4))); return true;                // BINSTRING
      case 'U': push_bytes(Kind::text, take(take_integer(1))); return true;                // SHORT_BINSTRING
      case 'V': push_decoded(Kind::text, unescape_raw_unicode(take_line())); return true;  // UNICODE
      case 'X': push_bytes(Kind::text, take(take_integer(4))); return true;                // BINUNICODE
      case 0x8c: push_bytes(Kind::text, take(take_integer(1))); return true;               // SHORT_BINUNICODE
      case 0x8d: push_bytes(Kind::text, take(take_integer(8))); return true;               // BINUNICODE8
      case 'B': push_bytes(Kind::bytes, take(take_integer(4))); return true;               // BINBYTES
      case 'C': push_bytes(Kind::bytes, take(take_integer(1))); return true;               // SHORT_BINBYTES
      case 0x8e: push_bytes(Kind::bytes, take(take_integer(8))); return true;              // BINBYTES8
      case 0x96: push_bytes(Kind::bytes, take(take_integer(8))); return true;              // BYTEARRAY8

      case ')': push_shared(Kind::tuple); return true;
      case 0x85: push_tuple(1); return true;
      case 0x86: push_tuple(2); return true;
      case 0x87: push_tuple(3); return true;
      case 't': push_items(Kind::tuple, pop_to_mark()); return true;
      case ']': push_items(Kind::list, {}); return true;
      case 'l': push_items(Kind::list, pop_to_mark()); return true;
      case 'a': {  // APPEND
        const Value* item = pop();
        append({item}, Kind::list);
        return true;
      }
      case 'e': append(pop_to_mark(), Kind::list); return true;  // APPENDS
      case '}': push_items(Kind::dict, {}); return true;
      case 'd': push_items(Kind::dict, pop_to_mark()); return true;
      case 's': {  // SETITEM
        const Value* value = pop();
        const Value* key = pop();
        append({key, value}, Kind::dict);
        return true;
      }
      case 'u': append(pop_to_mark(), Kind::dict); return true;  // SETITEMS

      case 'c': {  // GLOBAL
        const std::string_view module = take_line(), name = take_line();
        push_global(module, name);
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const Value* name = pop();
        const Value* module = pop();
        require(name->kind == Kind::text && module->kind == Kind::text, "a global without a name");
        push_global(module->bytes, name->bytes);
        return true;
      }
      case 'R': reduce(); return true;
      case 'b': build(); return true;
      case 'i': {
        const std::string_view module = take_line(), name = take_line();
        refuse(text(module, '.', name, " (INST)"));
      }
    }
    refuse("opcode " + opcode_name(opcode));
  }

  /// INT: protocols 0 and 1 write True as 01 and False as 00.
  bool step_int(std::string_view line) {
    const bool boolean = line == "00" || line == "01";
    push_integer(take_number<std::int64_t>(line), boolean ? Kind::boolean : Kind::integer);
    return true;
  }

  /// LONG1, LONG4: two's complement, little-endian.
  bool step_long(std::uint64_t bytes) {
    require(bytes <= 8, "an integer beyond 64 bits");
    const auto value = static_cast<std::int64_t>(take_integer(static_cast<int>(bytes)) << (64 - 8 * bytes) % 64);
    push_integer(bytes == 0 ? 0 : value >> (64 - 8 * bytes));
    return true;
  }

  std::string_view input_;
  const std::string& path_;
  Pickle& pickle_;
  std::size_t decoded_left_, values_left_;
  std::size_t at_ = 0;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::vector<Value*> memo_;
  std::unordered_map<std::uint64_t, Value*> far_memo_;
  std::map<std::pair<Kind, std::int64_t>, Value*> shared_;
};

Pickle::Pickle(std::span<const std::uint8_t> bytes, const std::string& path) { Machine(bytes, path, *this).run(); }

std::string dtype_name(const Value& value) {
  if (value.kind != Kind::dtype) return {};
  std::string name(value.bytes);
  std::string order = "<";
  if (!name.empty() && std::string_view("<>|=").find(name[0]) != std::string_view::npos) {
    order = name.substr(0, 1);
    name.erase(0, 1);
  }
  if (!value.items.empty()) order = value.items[0]->bytes;
  return name.starts_with('O') ? "|O" : order + name;
}

}  // namespace retort::pickle
