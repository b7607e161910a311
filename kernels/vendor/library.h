// A shared library that is opened when it is first used, so that the program starts where it is not installed.
#pragma once

#include <initializer_list>
#include <string>

namespace retort::vendor {

class Library {
 public:
  /// Opens the first of the names that the system finds.
  explicit Library(std::initializer_list<const char*> names);
  /// A function's address; null if the library is not open or has no such function, which why_not() then says.
  void* find(const char* function);
  /// An empty string if the library is open and every find() found something.
  const std::string& why_not() const { return why_not_; }

 private:
  void* handle_ = nullptr;
  std::string why_not_;
};

/// "<call> (<file>:<line>): <text>", for the errors of calls.
std::string failed_call(const char* call, const char* file, int line, const std::string& text);

}  // namespace retort::vendor
