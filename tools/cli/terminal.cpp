#include "tools/cli/terminal.h"

#if defined(_WIN32)
#include <io.h>
#else
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace retort {
namespace {

constexpr int kColumns = 80;

}  // namespace

#if defined(_WIN32)

bool is_terminal(Output output) { return _isatty(static_cast<int>(output)) != 0; }

int terminal_columns(Output) { return kColumns; }

bool reader_gone() { return false; }

#else

bool is_terminal(Output output) { return isatty(static_cast<int>(output)) == 1; }

int terminal_columns(Output output) {
  winsize size{};
  return ioctl(static_cast<int>(output), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kColumns;
}

bool reader_gone() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

#endif

}  // namespace retort
