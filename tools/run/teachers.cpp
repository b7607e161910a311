#include "tools/run/teachers.h"

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "tools/cli/options.h"

namespace retort {

std::vector<Model> load_teachers(const std::string& files, Device device) {
  std::vector<Model> models;
  const std::vector<std::string> names = split_commas(files);
  if (names.empty()) throw UsageError(text("'", files, "' names no model file; give FILE or FILE,FILE"));
  for (const std::string& file : names) {
    models.push_back(load_model(file));
    to_device(*models.back().network, device);
    if (models.size() > 1) check_teacher_classes(models.back(), file, models.front().spec.classes);
  }
  return models;
}

std::string teacher_hashes(const std::vector<Model>& models) {
  std::string hashes;
  for (const Model& model : models) hashes += (hashes.empty() ? "" : ",") + model.hash();
  return hashes;
}

std::vector<Preprocessing> teacher_preprocessing(const std::vector<Model>& models) {
  std::vector<Preprocessing> result;
  for (const Model& model : models) result.push_back(model.spec.preprocessing);
  return result;
}

std::unique_ptr<LiveTeacher> live_teacher(std::vector<Model> models, Combine combine, std::vector<double> weights) {
  std::vector<LiveTeacher::Member> members;
  for (Model& model : models) members.push_back({std::move(model.network), model.spec.preprocessing});
  return std::make_unique<LiveTeacher>(std::move(members), combine, std::move(weights));
}

void check_weights(const char* flag, const std::vector<double>& weights, std::size_t count, const char* what) {
  if (!weights.empty() && weights.size() != count)
    throw UsageError(text(flag, ": ", weights.size(), " for ", count, " ", what, "; give one for each"));
}

std::unique_ptr<CachedTeacher> cached_teacher(const std::string& path, const Dataset& dataset) {
  LogitStore store = read_logit_store(path, dataset.classes());
  std::vector<std::int64_t> rows = match_logit_store(store, path, dataset);
  return std::make_unique<CachedTeacher>(std::move(store), std::move(rows));
}

void check_teacher_classes(const Model& model, const std::string& file, const std::vector<std::string>& classes) {
  const std::vector<std::string>& own = model.spec.classes;
  check(own.size() == classes.size(), file, ": has ", own.size(), " classes where ", classes.size(),
        " were expected; train the teacher on the same classes");
  for (std::size_t i = 0; i < own.size(); ++i)
    check(own[i] == classes[i], file, ": class ", i, " is '", own[i], "' where '", classes[i],
          "' was expected; train the teacher on the same classes");
}

void check_store_teacher(const LogitStore& store, const std::string& path, const std::vector<Model>& models) {
  check(store.teacher == teacher_hashes(models), path,
        ": was not made by the --teacher given (its weights differ); make the store again with `retort logits`");
  check(store.preprocessing == teacher_preprocessing(models), path,
        ": was made with another teacher preprocessing than the --teacher given; make the store again");
}

}  // namespace retort
