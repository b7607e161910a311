// Model files as teachers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/distill/teacher.h"
#include "models/registry.h"

namespace retort {

/// Loads FILE[,FILE...] onto a device. Throws Error if their classes differ, UsageError if none is named.
std::vector<Model> load_teachers(const std::string& files, Device device);

/// Their files' hashes, joined by commas.
std::string teacher_hashes(const std::vector<Model>& models);

std::vector<Preprocessing> teacher_preprocessing(const std::vector<Model>& models);

/// weights as in combine_logits, already checked.
std::unique_ptr<LiveTeacher> live_teacher(std::vector<Model> models, Combine combine, std::vector<double> weights = {});

/// Throws UsageError naming the flag unless `weights` is empty or holds one for each of `count`; `what` are these,
/// "stores" or "teachers".
void check_weights(const char* flag, const std::vector<double>& weights, std::size_t count, const char* what);

/// A store's rows for this dataset. Throws Error where store and images do not match.
std::unique_ptr<CachedTeacher> cached_teacher(const std::string& store, const Dataset& dataset);

/// Throws Error naming the file and the first class that differs.
void check_teacher_classes(const Model& model, const std::string& file, const std::vector<std::string>& classes);

/// Throws Error if the store was made by other models, or with another preprocessing.
void check_store_teacher(const LogitStore& store, const std::string& path, const std::vector<Model>& models);

}  // namespace retort
