#include "tools/run/tensorboard.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

#include "engine/io/encode.h"

namespace retort {
namespace {

/// 3 x 5 pixels a digit, a row an octal figure.
constexpr int kDigits[10][5] = {{7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7}, {5, 5, 7, 1, 1},
                                {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 1, 1, 1}, {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7}};
constexpr std::int64_t kMostPixels = 1024, kCell = 48, kWithDigits = 24;

class Canvas {
 public:
  explicit Canvas(std::int64_t side) {
    image_ = {.width = side, .height = side, .channels = 3, .pixels = {}};
    image_.pixels.assign(static_cast<std::size_t>(side * side * 3), 255);
  }
  void fill(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height, const std::uint8_t (&colour)[3]) {
    for (std::int64_t row = y; row < y + height; ++row)
      for (std::int64_t column = x; column < x + width; ++column)
        std::copy(colour, colour + 3, image_.pixels.begin() + (row * image_.width + column) * 3);
  }
  Image take() { return std::move(image_); }

 private:
  Image image_;
};

/// The number in the middle of a cell, its pixels as large as there is room for.
void draw_number(Canvas& canvas, std::int64_t x, std::int64_t y, std::int64_t cell, const std::string& digits,
                 const std::uint8_t (&colour)[3]) {
  const auto columns = static_cast<std::int64_t>(digits.size()) * 4 - 1;
  const std::int64_t scale = std::min<std::int64_t>({2, (cell - 2) / columns, (cell - 2) / 5});
  if (scale < 1) return;
  const std::int64_t left = x + (cell - columns * scale) / 2, top = y + (cell - 5 * scale) / 2;
  for (std::size_t at = 0; at < digits.size(); ++at)
    for (int row = 0; row < 5; ++row)
      for (int column = 0; column < 3; ++column)
        if (kDigits[digits[at] - '0'][row] >> (2 - column) & 1)
          canvas.fill(left + (static_cast<std::int64_t>(at) * 4 + column) * scale, top + row * scale, scale, scale,
                      colour);
}

std::string tag_of(const std::string& key) {
  for (const char* part : {"train_", "val_"})
    if (key.starts_with(part))
      return text(std::string(part, std::string_view(part).size() - 1), "/", key.substr(std::string_view(part).size()));
  return "run/" + key;
}

/// A google.protobuf.Value: a number where the text is one, otherwise the text.
ProtoWriter setting_value(const std::string& setting) {
  constexpr std::uint32_t kNumber = 2, kString = 3;
  double number = 0;
  const auto [end, error] = std::from_chars(setting.data(), setting.data() + setting.size(), number);
  ProtoWriter value;
  if (error == std::errc() && end == setting.data() + setting.size() && std::isfinite(number))
    value.real64(kNumber, number);
  else
    value.bytes(kString, setting);
  return value;
}

/// The hparams plugin's message (tensorboard/plugins/hparams/plugin_data.proto): a session begins, with these settings.
ProtoWriter session_start(const std::string& run_name, const std::map<std::string, std::string>& settings) {
  constexpr std::uint32_t kSessionStart = 3, kSettings = 1, kGroupName = 4, kStartTime = 5;
  ProtoWriter start, content;
  for (const auto& [flag, setting] : settings) {
    if (setting.empty()) continue;
    ProtoWriter entry;
    entry.bytes(1, flag.substr(flag.find_first_not_of('-'))).message(2, setting_value(setting));
    start.message(kSettings, entry);
  }
  start.bytes(kGroupName, run_name);
  start.real64(kStartTime, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  content.message(kSessionStart, start);
  return content;
}

}  // namespace

Image confusion_picture(const std::vector<std::vector<std::int64_t>>& counts) {
  constexpr std::uint8_t kGrid[3] = {255, 255, 255}, kInk[3] = {20, 20, 20}, kOnDark[3] = {255, 255, 255};
  constexpr double kLight[3] = {238, 243, 250}, kDark[3] = {16, 78, 139};
  const auto classes = static_cast<std::int64_t>(counts.size());
  const std::int64_t cell = std::clamp<std::int64_t>(kMostPixels / std::max<std::int64_t>(1, classes), 1, kCell);
  Canvas canvas(cell * classes);
  for (std::int64_t row = 0; row < classes; ++row) {
    std::int64_t total = 0;
    for (const std::int64_t count : counts[static_cast<std::size_t>(row)]) total += count;
    for (std::int64_t column = 0; column < classes; ++column) {
      const std::int64_t count = counts[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)];
      const double share = total > 0 ? static_cast<double>(count) / static_cast<double>(total) : 0;
      std::uint8_t colour[3];
      for (int c = 0; c < 3; ++c)
        colour[c] = static_cast<std::uint8_t>(std::lround(kLight[c] + share * (kDark[c] - kLight[c])));
      canvas.fill(column * cell, row * cell, cell, cell, colour);
      if (cell < kWithDigits) continue;
      canvas.fill(column * cell, row * cell, cell, 1, kGrid);
      canvas.fill(column * cell, row * cell, 1, cell, kGrid);
      draw_number(canvas, column * cell, row * cell, cell, std::to_string(count), share > 0.5 ? kOnDark : kInk);
    }
  }
  return canvas.take();
}

TensorBoard::TensorBoard(const std::string& folder, std::int64_t first_epoch, const std::string& run_name,
                         const std::map<std::string, std::string>& settings, std::vector<std::string> classes)
    : file_(folder, first_epoch), classes_(std::move(classes)) {
  ProtoWriter summary;
  summary.message(1, plugin_value("_hparams_/session_start_info", "hparams", session_start(run_name, settings)));
  file_.add(first_epoch, summary);
}

void TensorBoard::add(const EpochReport& report, const Reported& reported) {
  ProtoWriter summary;
  const nlohmann::ordered_json line = report_json(report, reported);
  for (const auto& [key, value] : line.items())
    if (value.is_number() && key != "epoch") summary.message(1, scalar_value(tag_of(key), value.get<double>()));
  const std::vector<std::vector<std::int64_t>>* counts = report.val ? &report.val->confusion : nullptr;
  if (counts && !counts->empty()) {
    const Image picture = confusion_picture(*counts);
    const std::vector<std::uint8_t> png = encode_png(picture);
    std::string names = "Rows: the true class; columns: the predicted one. In order: ";
    for (std::size_t i = 0; i < classes_.size(); ++i) names += (i ? ", " : "") + classes_[i];
    summary.message(
        1, image_value("val/confusion", std::string(png.begin(), png.end()), picture.width, picture.height, names));
  }
  file_.add(report.epoch, summary);
}

}  // namespace retort
