#include "tools/run/log.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <vector>

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
  /// What there is no room for is left to the log, the higher ranks first.
  struct Piece {
    int rank;
    std::string words;
  };
  std::vector<Piece> pieces;
  const auto append = [&](int rank, const char* format, auto... values) {
    char buffer[160];
    std::snprintf(buffer, sizeof buffer, format, values...);
    pieces.push_back({rank, buffer});
  };
  const auto append_loss = [&](const char* name, double loss) {
    append(0, std::abs(loss) < 1000 ? "  %s %.4f" : "  %s %.3g", name, loss);
  };
  append(0, "epoch %lld/%lld  lr %.3g", static_cast<long long>(report.epoch), static_cast<long long>(reported.epochs),
         report.lr);
  append_loss("train", report.train.loss);
  if (reported.taught && reported.labelled) append(1, " (hard %.3g soft %.3g)", report.train.hard, report.train.soft);
  if (reported.hinted) append(2, " hint %.3g", report.train.hints);
  if (reported.labelled) append(0, " %.2f%%", 100 * report.train.accuracy);
  if (report.val) {
    append_loss("val", report.val->loss);
    if (reported.val_taught) append(3, " kl %.3g", report.val->kl);
    if (reported.labelled) append(0, " %.2f%%", 100 * report.val->accuracy);
  }
  append(0, "%s", report.selected ? " *" : "");
  append(4, "  %.0f/s", report.images_per_second);
  append(0, " %.0f s", report.seconds);

  constexpr std::size_t kColumns = 100;
  for (int kept = 4;; --kept) {
    std::string line;
    for (const Piece& piece : pieces)
      if (piece.rank <= kept) line += piece.words;
    if (line.size() <= kColumns || kept == 0) return line;
  }
}

std::int64_t epoch_of(const nlohmann::json& line) {
  const auto found = line.is_object() ? line.find("epoch") : line.end();
  return found != line.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

Log::Log(const std::string& path, std::int64_t first_epoch) : path_(path) {
  if (path.empty()) return;
  check_writable(path);
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) {  // a pipe: nothing to keep
    file_ = Descriptor(open_file(path.c_str(), O_WRONLY | O_CLOEXEC));
    return;
  }
  std::string kept;
  std::error_code none;
  if (first_epoch > 0 && std::filesystem::exists(path, none)) {
    const std::vector<std::uint8_t> bytes = read_text_file(path);
    std::istringstream old(std::string(bytes.begin(), bytes.end()));
    for (std::string line; std::getline(old, line);) {
      const std::int64_t epoch = epoch_of(try_parse_json(line).value_or(nullptr));
      if (epoch > 0 && epoch <= first_epoch) kept += line + "\n";
    }
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
