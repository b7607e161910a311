#include "engine/distill/training_state.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/json.h"
#include "engine/io/layout.h"
#include "engine/io/safetensors.h"

namespace retort {
namespace {

constexpr const char* kFormat = "retort-training-state-4";
const std::string kModel = "model.", kOptimizer = "optimizer.", kMore = "more.";

// One list for both directions, so that a field cannot be saved and not restored. JSON prints doubles so that they read
// back to the same bits.
template <class Progress, class Visit>
void visit_progress(Progress& p, Visit&& visit) {
  visit("epoch", p.epoch);
  visit("batch", p.batch);
  visit("step", p.step);
  visit("samples", p.sums.samples);
  visit("labelled", p.sums.labelled);
  visit("loss", p.sums.loss);
  visit("hard", p.sums.hard);
  visit("soft", p.sums.soft);
  visit("accuracy", p.sums.accuracy);
  visit("top5", p.sums.top5);
  visit("kl", p.sums.kl);
  visit("hints", p.sums.hints);
  visit("hard_gradient", p.sums.hard_gradient);
  visit("soft_gradient", p.sums.soft_gradient);
  visit("selected_epoch", p.selected_epoch);
  visit("selected_accuracy", p.selected_accuracy);
  visit("selected_loss", p.selected_loss);
  visit("best_loss", p.best_loss);
  visit("epochs_without_gain", p.epochs_without_gain);
  visit("plateau_best", p.plateau_best);
  visit("plateau_factor", p.plateau_factor);
  visit("plateau_bad_epochs", p.plateau_bad_epochs);
}

nlohmann::json to_json(const TrainingProgress& progress) {
  nlohmann::json json = nlohmann::json::object();
  visit_progress(progress, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

/// Throws nlohmann's exceptions. Whole numbers are taken by reference: a value would cut off fractions.
TrainingProgress progress_from(const nlohmann::json& json) {
  TrainingProgress progress;
  visit_progress(progress, [&]<class Value>(const char* name, Value& value) {
    if constexpr (std::is_integral_v<Value>)
      value = static_cast<Value>(json.at(name).get_ref<const nlohmann::json::number_integer_t&>());
    else
      json.at(name).get_to(value);
  });
  return progress;
}

const Tensor& require(const TensorFile& file, const std::string& path, const std::string& name) {
  const Tensor* tensor = file.find(name);
  check(tensor, path, ": has no ", name, "; it is the state of another model; delete it to start over");
  return *tensor;
}

std::map<std::string, std::string> metadata_of(const TrainingProgress& progress, const Fingerprint& fingerprint,
                                               std::int64_t optimizer_steps, bool finished) {
  return {{"format", kFormat},
          {"progress", to_json(progress).dump()},
          {"fingerprint", json_text(nlohmann::json(fingerprint))},
          {"optimizer_steps", std::to_string(optimizer_steps)},
          {"finished", finished ? "yes" : "no"}};
}

}  // namespace

EpochSums& EpochSums::operator+=(const EpochSums& other) {
  constexpr double EpochSums::*kAll[] = {&EpochSums::samples,       &EpochSums::labelled,     &EpochSums::loss,
                                         &EpochSums::hard,          &EpochSums::soft,         &EpochSums::accuracy,
                                         &EpochSums::top5,          &EpochSums::kl,           &EpochSums::hints,
                                         &EpochSums::hard_gradient, &EpochSums::soft_gradient};
  static_assert(sizeof(EpochSums) == sizeof(double) * std::size(kAll));
  for (double EpochSums::*const sum : kAll) this->*sum += other.*sum;
  return *this;
}

void save_training_state(const std::string& path, Module& module, Optimizer& optimizer,
                         const TrainingProgress& progress, const Fingerprint& fingerprint, const MoreState& more,
                         bool finished) {
  TensorFile file;
  file.metadata = metadata_of(progress, fingerprint, optimizer.steps(), finished);
  // Memory layout is kept: nobody else reads this file, and its tensors can be written as they lie.
  for (Parameter* parameter : parameters(module))
    file.tensors.emplace_back(kModel + parameter->name, parameter->value.to(Device::cpu));
  for (auto& [name, tensor] : optimizer.state()) file.tensors.emplace_back(kOptimizer + name, tensor.to(Device::cpu));
  for (const auto& [name, tensor] : more) file.tensors.emplace_back(kMore + name, tensor.to(Device::cpu));
  write_safetensors(path, file);
}

namespace {

/// A state's metadata, and what of it is JSON.
struct Header {
  Fingerprint fingerprint;
  TrainingProgress progress;
  std::int64_t optimizer_steps = 0;
};

Header read_header(const std::map<std::string, std::string>& metadata, const std::string& path) {
  const auto entry = [&](const char* key) {
    const auto found = metadata.find(key);
    check(found != metadata.end(), path, ": is not a training state; delete it to start over");
    return found->second;
  };
  check(entry("format") == kFormat, path, ": is not a training state of this version; delete it to start over");
  const auto parse = [&](const char* key) {
    return parse_json(entry(key), path + ": its metadata is damaged: " + key + " ", "; delete it to start over");
  };
  Header header;
  try {
    parse("fingerprint").get_to(header.fingerprint);
    header.progress = progress_from(parse("progress"));
    header.optimizer_steps = parse("optimizer_steps").get_ref<const nlohmann::json::number_integer_t&>();
  } catch (const nlohmann::json::exception&) {
    throw Error(text(path, ": its metadata is damaged; delete it to start over"));
  }
  return header;
}

/// Empty where there is none: a flag that a run does not know is one that it leaves out.
std::string entry_of(const Fingerprint& fingerprint, const std::string& flag) {
  const auto found = fingerprint.find(flag);
  return found == fingerprint.end() ? std::string() : found->second;
}

}  // namespace

void check_same(const Fingerprint& saved, const Fingerprint& fingerprint, const std::string& path) {
  Fingerprint both = fingerprint;
  both.insert(saved.begin(), saved.end());
  for (const auto& [flag, _] : both) {
    const std::string before = entry_of(saved, flag), now = entry_of(fingerprint, flag);
    if (flag == kLabelsEntry) {
      check(before.empty() || before == now, path,
            ": the images' names or labels have changed since the run was started; restore them, or begin anew with "
            "--restart");
      continue;
    }
    check(before == now, path, ": the run was started with ", flag, " '", before, "', not '", now,
          "'; give the same flags, or another --out");
  }
}

StateSummary read_state_summary(const std::string& path) {
  const auto metadata = read_safetensors_metadata(path);
  const Header header = read_header(metadata, path);
  const auto entry = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  return {.epoch = header.progress.epoch,
          .step = header.progress.step,
          .finished = entry("finished") == "yes",
          .kept = entry("kept") != "no"};
}

TrainingProgress load_training_state(const std::string& path, Module& module, Optimizer& optimizer,
                                     const Fingerprint& fingerprint, const MoreState& more) {
  const TensorFile file = read_safetensors(path);
  const Header header = read_header(file.metadata, path);
  check_same(header.fingerprint, fingerprint, path);
  optimizer.set_steps(header.optimizer_steps);
  const auto restore = [&](const std::string& name, Tensor target) {
    const Tensor& source = require(file, path, name);
    check(source.shape() == target.shape() && source.dtype() == target.dtype(), path, ": ", name, " has shape ",
          source.shape(), ", the model's is ", target.shape(), "; delete it to start over");
    target.copy_from(source);
  };
  for (Parameter* parameter : parameters(module)) restore(kModel + parameter->name, parameter->value);
  for (auto& [name, tensor] : optimizer.state()) restore(kOptimizer + name, tensor);
  for (const auto& [name, tensor] : more) restore(kMore + name, tensor);
  return header.progress;
}

void save_finished_run(const std::string& path, const TrainingProgress& progress, const Fingerprint& fingerprint) {
  TensorFile file;
  file.metadata = metadata_of(progress, fingerprint, progress.step, /*finished=*/true);
  file.metadata["kept"] = "no";
  write_safetensors(path, file);
}

TrainingProgress load_progress(const std::string& path, const Fingerprint& fingerprint) {
  const Header header = read_header(read_safetensors_metadata(path), path);
  check_same(header.fingerprint, fingerprint, path);
  return header.progress;
}

}  // namespace retort
