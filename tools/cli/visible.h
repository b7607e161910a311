// Text from files on its way to a terminal: what would steer the terminal is shown instead.
#pragma once

#include <iosfwd>
#include <streambuf>
#include <string>

namespace retort {

/// Passes UTF-8 on, lines and tabs with it. Control characters, which may move the cursor, rename the window or hide
/// text, become their JSON escapes (\u001b), so that a JSON object stays one; bytes that are no UTF-8 become \x9b.
class VisibleBuffer : public std::streambuf {
 public:
  explicit VisibleBuffer(std::streambuf& out) : out_(out) {}

 protected:
  int_type overflow(int_type c) override;
  /// Passes the whole text on at once: a line of stderr is one write, into which no other process's words fall.
  std::streamsize xsputn(const char* text, std::streamsize count) override;
  int sync() override;

 private:
  bool emit(const std::string& text);
  bool put(unsigned char byte);
  bool end_sequence();

  std::streambuf& out_;
  std::string sequence_;  ///< of a UTF-8 character, as far as it has come
  std::size_t expected_ = 0;
  std::string* collected_ = nullptr;  ///< what is passed on later
};

/// While it lives, all that is written to std::cout and std::cerr is made visible.
class VisibleOutput {
 public:
  VisibleOutput();
  ~VisibleOutput();
  VisibleOutput(const VisibleOutput&) = delete;
  VisibleOutput& operator=(const VisibleOutput&) = delete;

 private:
  std::streambuf *plain_out_, *plain_err_;
  VisibleBuffer out_, err_;
};

/// A name from a file as a part of a line: made visible, the ends of lines and tabs in it too. What goes to stdout by
/// printf, which std::cout's buffer does not see, needs it against the terminal as well.
std::string visible_name(const std::string& name);

/// stderr as it is, for what steers the terminal on purpose.
std::ostream& raw_stderr();

/// A message of at most some two thousand bytes: the middle of a longer one is left out, since it begins with what is
/// at fault and ends with what to do.
std::string shortened(const std::string& message);

}  // namespace retort
