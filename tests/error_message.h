// What an expected error says.
#pragma once

#include <exception>
#include <string>

namespace retort::test {

/// The message of the std::exception that the call throws; "(nothing thrown)" if it throws none.
template <class Call>
std::string error_message(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

}  // namespace retort::test
