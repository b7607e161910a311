// Flags of a teacher whose classes are not the student's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/distill/class_map.h"
#include "tools/cli/flags.h"

namespace retort {

struct ClassMapOptions {
  std::string path;
  bool no_prior = false;
};

template <class Visitor>
void visit_flags(ClassMapOptions& o, Visitor&& flag) {
  flag("--class-map", o.path,
       "Table teacher class,student class (.csv): several to one by log-sum-exp, corrected for their number",
       anything(), bits_in("--class-map"));
  flag("--no-prior", o.no_prior, "Fold the classes of --class-map without correcting for their number", anything(),
       bits_in("--class-map"));
}

/// What the flags ask for, if they do. Throws UsageError for --no-prior alone, and what read_class_map throws.
std::optional<ClassMap> class_map_of(const ClassMapOptions& options);

/// The entry of a run's fingerprint: empty without a map.
std::string fingerprint_of(const std::optional<ClassMap>& map);

}  // namespace retort
