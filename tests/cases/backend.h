// What a test case runs on: a backend's tables, where its buffers lie, the modes it runs in, and what it promises of
// its arithmetic. A case is written once, over a Backend; who adds one to a program's list (tests/kernels/backends.h,
// tests/simt/backends.h) has it tested.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/memory.h"
#include "tests/case.h"
#include "tests/cases/arithmetic.h"
#include "tests/cases/work.h"
#include "tests/element_types.h"
#include "tests/tolerance.h"

namespace retort::test {

/// One way to run a backend: an instruction set and a number of threads, an order of threads, ...
struct Mode {
  std::string name;
  int group = 0;            ///< modes of one group give the same bits
  Work work = Work::usual;  ///< the most that it is given

  bool affords(Work shape) const { return shape <= work; }
};

struct Backend {
  std::string name;
  Device memory;                     ///< of its buffers
  const KernelTable* f32 = nullptr;  ///< null: it has no such elements
  const KernelTable* bf16 = nullptr;
  Arithmetic arithmetic;
  /// Sets each mode in turn and calls the check in it.
  std::function<void(const std::function<void(const Mode&)>&)> in_every_mode;
  Work work = Work::usual;    ///< the most that any mode affords
  bool few_settings = false;  ///< of a list of settings one is taken for each shape in turn: it is slow
  bool forward_only = false;  ///< its backward passes are another backend's
  bool eights_alone = false;  ///< where channels do not come in eights, it is another backend
  /// Whether an infinite logit makes every loss infinite or NaN. CUDA's NKD stays finite on some.
  bool infinite_logits_show = true;
  /// Above 0: no promise of single elements, only of their relative root mean square error (NVIDIA's libraries).
  double relative_rms = 0;
};

/// The value that make() gives, made once in a program for each key: the oracle takes longer than what it checks.
template <class Make>
const auto& once(const std::string& key, const Make& make) {
  static std::map<std::string, decltype(make())> made;
  const auto found = made.find(key);
  return found != made.end() ? found->second : made.emplace(key, make()).first->second;
}

/// Where the oracle's buffers lie.
inline const Backend& host() {
  static const Backend backend = {.name = "oracle", .memory = Device::cpu, .arithmetic = {}, .in_every_mode = {}};
  return backend;
}

/// The type of parameters and their gradients beside activations of T.
template <class T>
using ParameterOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Runs check(zero, table) for each of the backend's element types; `zero` is of the type.
template <class Check>
void for_each_type(const Backend& backend, const Check& check) {
  CAPTURE(backend.name);
  if (backend.f32) {
    CAPTURE(std::string("f32"));
    check(float{}, *backend.f32);
  }
  if (backend.bf16) {
    CAPTURE(std::string("bf16"));
    check(BFloat16(0.0f), *backend.bf16);
  }
}

/// Runs check(table) for the backend's f32, if it has that.
template <class Check>
void for_each_f32(const Backend& backend, const Check& check) {
  CAPTURE(backend.name);
  if (backend.f32) check(*backend.f32);
}

/// Runs check(mode) in every mode of the backend.
template <class Check>
void for_each_mode(const Backend& backend, const Check& check) {
  backend.in_every_mode([&](const Mode& mode) {
    CAPTURE(mode.name);
    check(mode);
  });
}

/// Elements where the backend's kernels find them. On the host they are allocated to the byte, so that a sanitizer sees
/// what reaches beyond.
template <class T>
class Buffer {
 public:
  /// NaN in every floating-point type, so that an element left unwritten is seen, and a workspace read before it is
  /// written.
  Buffer(const Backend& backend, std::size_t count) : Buffer(backend.memory, count) {
    if (on_host()) {
      std::memset(data_, 0xFF, count * sizeof(T));
    } else {
      const std::vector<char> bytes(count * sizeof(T), '\xFF');
      memory_.upload({}, data_, bytes.data(), bytes.size());
    }
  }
  Buffer(const Backend& backend, const std::vector<T>& values) : Buffer(backend.memory, values.size()) {
    if (!on_host())
      memory_.upload({}, data_, values.data(), count_ * sizeof(T));
    else if (count_ > 0)
      std::memcpy(data_, values.data(), count_ * sizeof(T));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (!on_host()) memory_.release(data_);
  }
  T* get() const { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    if (on_host()) return {get(), get() + count_};
    std::vector<T> values(count_);
    memory_.download({}, values.data(), data_, count_ * sizeof(T));
    return values;
  }
  std::vector<double> wide() const { return test::wide(values()); }

 private:
  Buffer(Device device, std::size_t count)
      : memory_(memory_of(device)),
        host_(device == Device::cpu ? new char[count * sizeof(T)] : nullptr),
        data_(host_ ? host_.get() : memory_.allocate(count * sizeof(T))),
        count_(count) {}
  bool on_host() const { return host_ != nullptr; }

  const DeviceMemory& memory_;
  std::unique_ptr<char[]> host_;
  void* data_;
  std::size_t count_;
};

/// The same bits in all modes of a group, NaN left out: NaN differs from itself.
class SameBits {
 public:
  using Results = std::vector<std::vector<double>>;
  void check(const Mode& mode, const Results& results) {
    const auto [first, inserted] = first_.emplace(mode.group, results);
    if (!inserted) CHECK(first->second == results);
  }

 private:
  std::map<int, Results> first_;
};

/// Whether `found` is what the backend promises of it: within half a unit of T and noise(i), or near on the whole.
template <class T, class Noise>
bool holds(const Backend& backend, const std::vector<T>& found, const std::vector<double>& expected,
           const Noise& noise) {
  if (backend.relative_rms > 0) return relative_rms(wide(found), expected) <= backend.relative_rms;
  return error_of(found, expected, [&](std::size_t i) { return noise(i) + backend.arithmetic.underflow; }) <= 1;
}

/// Whether `found` is within noise(i), which bounds a result in float, its last rounding included; to bf16 it is
/// rounded once more.
template <class T, class Noise>
bool float_holds(const std::vector<T>& found, const std::vector<double>& expected, const Noise& noise) {
  if constexpr (std::is_same_v<T, BFloat16>) return error_of(found, expected, noise) <= 1;
  return worst(wide(found), expected, noise) <= 1;
}

/// No error beside the rounding to T.
inline double exact(std::size_t) { return 0; }

/// A case of a family: a name, and what it checks on a backend.
struct Case {
  const char* name;
  void (*run)(const Backend&);
};

/// Runs a family's cases on backends, each as a subcase.
inline void run_cases(const std::vector<Case>& cases, const std::vector<Backend>& backends) {
  for (const Backend& backend : backends)
    for (const Case& one : cases) SUBCASE((backend.name + ": " + one.name).c_str()) {
        one.run(backend);
      }
}

}  // namespace retort::test
