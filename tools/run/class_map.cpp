#include "tools/run/class_map.h"

#include "engine/core/check.h"
#include "engine/io/file.h"

namespace retort {

std::optional<ClassMap> class_map_of(const ClassMapOptions& options) {
  if (options.path.empty()) {
    if (options.no_prior) throw UsageError("--no-prior: goes with --class-map; leave it out");
    return std::nullopt;
  }
  return read_class_map(options.path, !options.no_prior);
}

std::string fingerprint_of(const std::optional<ClassMap>& map) {
  return map ? text(file_hash(map->path), map->prior ? "" : ", no prior") : "";
}

}  // namespace retort
