// What a model file remembers of the pictures that it was trained on, so that it is not judged on them unnoticed.
#pragma once

#include <map>
#include <string>

#include "engine/data/dataset.h"

namespace retort {

/// For the model's file: hashes of name and content of the labelled training pictures (of all, where none has a label)
/// whose names hash lowest, up to 32: those next to the ones that --val-split holds out.
std::string remember_pictures(const Dataset& train);

struct Recognised {
  std::int64_t remembered = 0;  ///< 0: the file says nothing
  std::int64_t found = 0;       ///< of them in the set, with the same name and content
};
Recognised recognise_pictures(const std::map<std::string, std::string>& notes, const Dataset& dataset);

/// The keys of a model's notes.
inline constexpr const char *kSeenNote = "trained_on", *kValSplitNote = "val_split";

}  // namespace retort
