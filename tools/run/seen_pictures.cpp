#include "tools/run/seen_pictures.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "engine/core/random.h"

namespace retort {
namespace {

constexpr std::size_t kRemembered = 32, kDigits = 16;

std::string hex(std::uint64_t value) {
  char digits[kDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

}  // namespace

std::string remember_pictures(const Dataset& train) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> order;
  for (std::int64_t i = 0; i < train.size(); ++i)
    if (!train.labelled() || train.labelled(i)) order.emplace_back(hash_name(train.name(i)), i);
  const std::size_t kept = std::min(kRemembered, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
  std::string list;
  for (std::size_t i = 0; i < kept; ++i) list += hex(order[i].first) + train.content_hash(order[i].second);
  return list;
}

Recognised recognise_pictures(const std::map<std::string, std::string>& notes, const Dataset& dataset) {
  const auto note = notes.find(kSeenNote);
  if (note == notes.end()) return {};
  std::map<std::string, std::string> content_of;
  for (std::size_t at = 0; at + 2 * kDigits <= note->second.size(); at += 2 * kDigits)
    content_of[note->second.substr(at, kDigits)] = note->second.substr(at + kDigits, kDigits);
  Recognised result{static_cast<std::int64_t>(content_of.size()), 0};
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto known = content_of.find(hex(hash_name(dataset.name(i))));
    result.found += known != content_of.end() && dataset.content_hash(i) == known->second;
  }
  return result;
}

}  // namespace retort
