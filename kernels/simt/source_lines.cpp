// Asks addr2line for the line of an instruction (kernels/simt/source_lines.h). A kernel's defect costs this once.
#include "kernels/simt/source_lines.h"

#include <link.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace retort::simt {
namespace {

std::uintptr_t anchor() { return reinterpret_cast<std::uintptr_t>(&source_line); }

/// By how far the program lies from where it was linked to.
std::uintptr_t load_offset() {
  std::uintptr_t offset = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the program itself comes first
      },
      &offset);
  return offset;
}

/// What a program writes to its standard output; empty if it cannot be run.
std::string output_of(const char* program, const char* const* arguments) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    close(STDERR_FILENO);
    execvp(program, const_cast<char* const*>(arguments));
    _exit(127);
  }
  close(ends[1]);
  std::string output;
  std::array<char, 256> piece;
  for (ssize_t n; child > 0 && (n = read(ends[0], piece.data(), piece.size())) > 0;)
    output.append(piece.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  return status == 0 ? output : std::string();
}

}  // namespace

CodePlace code_place(const void* return_address) {
  return static_cast<CodePlace>(reinterpret_cast<std::intptr_t>(return_address) - static_cast<std::intptr_t>(anchor()));
}

std::string source_line(CodePlace place) {
  if (place == 0) return {};
  std::array<char, 4096> program;
  const ssize_t length = readlink("/proc/self/exe", program.data(), program.size() - 1);
  if (length <= 0) return {};
  program[static_cast<std::size_t>(length)] = 0;
  std::array<char, 32> address;
  std::snprintf(
      address.data(), address.size(), "0x%jx",
      static_cast<std::uintmax_t>(anchor() + static_cast<std::uintptr_t>(std::intptr_t{place}) - 1 - load_offset()));
  const char* const arguments[] = {"addr2line", "-s", "-e", program.data(), address.data(), nullptr};
  std::string line = output_of(arguments[0], arguments);
  line.erase(line.find_last_not_of("\n") + 1);
  // "file.cu:12 (discriminator 3)"
  line.resize(std::min(line.size(), line.find(' ')));
  return line.starts_with("??") || line.ends_with(":0") || line.ends_with(":?") ? std::string() : line;
}

}  // namespace retort::simt
