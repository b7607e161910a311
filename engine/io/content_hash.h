// content_hash (engine/io/file.h) of bytes that come in parts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace retort {

class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  void add(std::span<const std::uint8_t> bytes);
  /// Of all that was added.
  std::string digits() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
