#include "tools/run/kernel_choice.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "engine/core/check.h"
#include "kernels/memory.h"

namespace retort {
namespace {

/// What is done with an entry of the table, whatever its signature.
template <auto family, auto function>
struct EntryOf {
  static bool same(const KernelTable& a, const KernelTable& b) { return pointer(a) == pointer(b); }
  static void take(KernelTable& to, const KernelTable& from) { to.*family.*function = from.*family.*function; }

 private:
  static const void* pointer(const KernelTable& table) { return std::bit_cast<const void*>(table.*family.*function); }
};

struct Entry {
  const char* name;
  bool (*same)(const KernelTable& a, const KernelTable& b);
  void (*take)(KernelTable& to, const KernelTable& from);
};

template <auto family, auto function>
constexpr Entry entry_of(const char* name) {
  return {name, EntryOf<family, function>::same, EntryOf<family, function>::take};
}

/// Those of which the ladder or a library has another kernel.
constexpr Entry kEntries[] = {
    entry_of<&KernelTable::gemm, &GemmKernels::run>("gemm.run"),
    entry_of<&KernelTable::conv2d, &Conv2dKernels::fprop>("conv2d.fprop"),
    entry_of<&KernelTable::conv2d, &Conv2dKernels::dgrad>("conv2d.dgrad"),
    entry_of<&KernelTable::conv2d, &Conv2dKernels::wgrad>("conv2d.wgrad"),
    entry_of<&KernelTable::softmax, &SoftmaxKernels::forward>("softmax.forward"),
    entry_of<&KernelTable::softmax, &SoftmaxKernels::backward>("softmax.backward"),
    entry_of<&KernelTable::loss, &LossKernels::cross_entropy>("loss.cross_entropy"),
    entry_of<&KernelTable::loss, &LossKernels::distillation>("loss.distillation"),
};

/// The tables that kernels were taken from.
std::vector<const KernelTable*>& sources() {
  static std::vector<const KernelTable*> tables;
  return tables;
}

/// The workspace that suffices for a family's kernels of any of those tables.
template <auto family, auto bytes, class Member>
struct LargestWorkspace;
template <auto family, auto bytes, class Family, class... Args>
struct LargestWorkspace<family, bytes, Required<std::size_t(Args...)> Family::*> {
  static std::size_t of(Args... args) {
    std::size_t most = 0;
    for (const KernelTable* table : sources()) most = std::max(most, (table->*family.*bytes)(args...));
    return most;
  }
};

/// Those of the families that have entries above.
void take_workspaces(KernelTable& table) {
  const auto of = [&table]<auto family, auto bytes>() {
    table.*family.*bytes = LargestWorkspace<family, bytes, decltype(bytes)>::of;
  };
  of.operator()<&KernelTable::gemm, &GemmKernels::workspace_bytes>();
  of.operator()<&KernelTable::conv2d, &Conv2dKernels::workspace_bytes>();
  of.operator()<&KernelTable::loss, &LossKernels::workspace_bytes>();
}

const Entry& find_entry(const std::string& name) {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry;
    names.emplace_back(entry.name);
  }
  throw UsageError(text("--kernel: no other kernel is there for '", name, "'; give ", alternatives(names)));
}

/// Throws UsageError where a backend's kernels do not fit buffers of the device and element type.
void check_fits(const char* flag, const Backend& backend, Device device, DType dtype) {
  if (backend.device != device)
    throw UsageError(text(flag, ": ", backend.name, " computes on ", to_string(backend.device), ", and the run on ",
                          to_string(device), "; give --device ", to_string(backend.device), " or another backend"));
  if (backend.dtype != dtype)
    throw UsageError(text(flag, ": ", backend.name, " is a kernel of ", to_string(backend.dtype),
                          ", and the run computes in ", to_string(dtype), "; give another --precision or backend"));
}

/// A step of the ladder goes without its device.
std::string full_name(const std::string& name, Device device) {
  const bool is_step = name.find('.') != std::string::npos && name.find(':') == std::string::npos;
  return is_step ? text(to_string(device), ":", name) : name;
}

std::string precision_of(DType dtype) { return dtype == DType::bf16 ? "bf16" : "fp32"; }

}  // namespace

KernelTable with_kernels(const Backend& base, const std::vector<std::string>& choices) {
  KernelTable table = *base.table;
  const auto add_source = [](const KernelTable* source) {
    if (std::ranges::find(sources(), source) == sources().end()) sources().push_back(source);
  };
  add_source(base.table);
  for (const std::string& choice : choices) {
    const std::size_t equals = choice.find('=');
    if (equals == std::string::npos)
      throw UsageError(text("--kernel: '", choice, "' names no kernel; give ENTRY=NAME, e.g. gemm.run=reference"));
    const Entry& entry = find_entry(choice.substr(0, equals));
    const Backend from =
        find_backend("--kernel", full_name(choice.substr(equals + 1), base.device), base.precision, Subject::step);
    check_fits("--kernel", from, base.device, base.dtype);
    if (entry.same(*base.table, *from.table))
      throw UsageError(text("--kernel: ", choice, ": ", from.name, " has the kernel there that runs anyway; give an ",
                            "entry that it brings, or leave this out"));
    entry.take(table, *from.table);
    add_source(from.table);
  }
  take_workspaces(table);
  return table;
}

ChosenKernels::ChosenKernels(const KernelChoice& choice, Device device, DType dtype) {
  if (choice.backend.empty() && choice.kernels.empty()) return;
  const Backend base =
      find_backend("--backend", choice.backend.empty() ? to_string(device) : full_name(choice.backend, device),
                   precision_of(dtype), Subject::step);
  check_fits("--backend", base, device, dtype);
  table_ = with_kernels(base, choice.kernels);
  scope_.emplace(dtype, *table_, device);
}

}  // namespace retort
