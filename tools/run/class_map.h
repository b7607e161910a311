// Flags of a model whose classes have no names, or are not those of the data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/distill/class_map.h"
#include "models/registry.h"
#include "tools/cli/flags.h"

namespace retort {

struct ClassMapOptions {
  std::string path, names;
  bool no_prior = false;
};

template <class Visitor>
void visit_flags(ClassMapOptions& o, Visitor&& flag) {
  flag("--class-names", o.names, "The model's classes, one a line in the order of its scores", anything(),
       bits_in("--class-map"));
  flag("--class-map", o.path,
       "Table model's class,student's class (.csv): several to one by log-sum-exp, corrected for their number",
       anything(), bits_in("--class-map"));
  flag("--no-prior", o.no_prior, "Fold the classes of --class-map without correcting for their number", anything(),
       bits_in("--class-map"));
}

/// The map that the flags ask for, if they do. Throws UsageError for --no-prior alone, and what read_class_map throws.
std::optional<ClassMap> class_map_of(const ClassMapOptions& options);

/// Drops what its reader would say of a flag that was given.
void forget_advice(Model& model, const std::string& flag);

/// Says what the model's reader took for granted. Gives a model the names that the flags name, then folds its classes
/// into those of the dataset (or without labels into the map's own), and says so; `file` names the model. Throws Error
/// for another number of names, one that is empty or stands twice, and what ClassFold throws.
void set_classes(const ClassMapOptions& options, Model& model, const std::string& file, const Dataset* dataset,
                 bool quiet);

/// The entry of a run's fingerprint: empty without the flags.
std::string fingerprint_of(const ClassMapOptions& options);

}  // namespace retort
