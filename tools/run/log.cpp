#include "tools/run/log.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

/// Without labels there is neither a hard loss nor an accuracy.
Json metrics_json(const EpochMetrics& metrics, bool taught, bool labelled) {
  Json json = {{"loss", metrics.loss}};
  if (labelled) json["hard_loss"] = metrics.hard;
  if (taught) json["soft_loss"] = metrics.soft;
  if (labelled) json["accuracy"] = metrics.accuracy;
  if (labelled) json["top5_accuracy"] = metrics.top5;
  if (taught) json["kl"] = metrics.kl;
  return json;
}

}  // namespace

Json report_json(const EpochReport& report, const Reported& reported) {
  Json json = {{"epoch", report.epoch}, {"step", report.step}, {"lr", report.lr}};
  const auto add = [&json](const std::string& prefix, const Json& metrics) {
    for (const auto& [key, value] : metrics.items()) json[prefix + key] = value;
  };
  if (report.distillation) {
    json["temperature"] = report.distillation->temperature;
    json["lambda"] = report.distillation->lambda;
    json["soft_weight"] = report.distillation->soft_weight;
  }
  add("train_", metrics_json(report.train, reported.taught, reported.labelled));
  if (reported.hinted) json["train_hint_loss"] = report.train.hints;
  if (report.distillation) {
    json["train_hard_gradient"] = report.train.gradients.hard;
    json["train_soft_gradient"] = report.train.gradients.soft;
  }
  if (report.val) add("val_", metrics_json(*report.val, reported.val_taught, reported.labelled));
  if (report.recalibrated > 0) json["recalibrated"] = report.recalibrated;
  json["selected"] = report.selected;
  json["images_per_second"] = report.images_per_second;
  json["seconds"] = report.seconds;
  return json;
}

std::string report_line(const EpochReport& report, const Reported& reported) {
  char buffer[160];
  std::string line;
  const auto append = [&](const char* format, auto... values) {
    std::snprintf(buffer, sizeof buffer, format, values...);
    line += buffer;
  };
  // A line has at most 100 columns: the parts of validation's loss are in the log.
  append("epoch %lld/%lld  lr %.3g", static_cast<long long>(report.epoch), static_cast<long long>(reported.epochs),
         report.lr);
  append("  train %.4f", report.train.loss);
  if (reported.taught && reported.labelled) append(" (hard %.3f soft %.3f)", report.train.hard, report.train.soft);
  if (reported.hinted) append(" hint %.3f", report.train.hints);
  if (reported.labelled) append(" %.2f%%", 100 * report.train.accuracy);
  if (report.val) {
    append("  val %.4f", report.val->loss);
    if (reported.val_taught) append(" kl %.3f", report.val->kl);
    if (reported.labelled) append(" %.2f%%", 100 * report.val->accuracy);
  }
  append("%s  %.0f/s %.0f s", report.selected ? " *" : "", report.images_per_second, report.seconds);
  return line;
}

Log::Log(const std::string& path, std::int64_t first_epoch) : path_(path) {
  if (path.empty()) return;
  check_writable(path);
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) {  // a pipe: nothing to keep
    file_ = Descriptor(open_file(path.c_str(), O_WRONLY | O_CLOEXEC));
    return;
  }
  std::string kept;
  std::ifstream old(path);
  for (std::string line; first_epoch > 0 && std::getline(old, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.value("epoch", first_epoch + 1) <= first_epoch) kept += line + "\n";
  }
  write_atomic(path, kept);
  file_ = Descriptor(open_file(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
}

void Log::add(const Json& json) {
  if (path_.empty()) return;
  const std::string line = json_text(json) + "\n";
  std::size_t written = 0;
  bool ok = true;
  while (ok && written < line.size()) {
    const ssize_t count = retried([&] { return ::write(file_.get(), line.data() + written, line.size() - written); });
    ok = count > 0;
    written += ok ? static_cast<std::size_t>(count) : 0;
  }
  // The training state that is saved next counts on the line; a pipe cannot be synced.
  ok = ok && (retried([&] { return ::fdatasync(file_.get()); }) == 0 || errno == EINVAL || errno == ENOTSUP);
  check(ok, path_, ": cannot write the log: ", reason(errno), "; free some space and resume");
}

}  // namespace retort
