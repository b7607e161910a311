// Charts of probabilities: the reliability diagram, and what the temperature does.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/check.h"
#include "engine/report/charts.h"
#include "engine/report/observables.h"

namespace retort {

std::string reliability_diagram(const std::string& title, const std::vector<CalibrationBin>& bins) {
  constexpr double kWidth = 400, kLeft = 52, kTop = 64, kPlot = 220, kCounts = 60, kGap = 34, kBottom = 24;
  constexpr double kAcross = kWidth - kLeft - 16;
  Svg svg(kWidth, kTop + kPlot + kGap + kCounts + kBottom, title);
  svg.rect(12, 31, 12, 12, "f0", 0.75);
  svg.text({28, 41}, "accuracy of the bin", "ink");
  svg.line({166, 37}, {186, 37}, "mark");
  svg.text({192, 41}, "perfectly calibrated", "ink");
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const double y = kTop + kPlot * (1 - share), x = kLeft + kAcross * share;
    svg.line({kLeft, y}, {kLeft + kAcross, y}, "grid");
    svg.text({kLeft - 6, y + 4}, number(share), "dim", Anchor::end, 11);
    svg.text({x, kTop + kPlot + 15}, number(share), "dim", Anchor::middle, 11);
  }
  std::int64_t most = 1;
  for (const CalibrationBin& bin : bins) most = std::max(most, bin.count);
  const double bin_width = kAcross / static_cast<double>(std::max<std::size_t>(bins.size(), 1));
  const double floor = kTop + kPlot + kGap + kCounts;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const CalibrationBin& bin = bins[i];
    if (bin.count == 0) continue;
    const double x = kLeft + bin_width * static_cast<double>(i);
    const double accuracy = static_cast<double>(bin.correct) / static_cast<double>(bin.count);
    svg.rect(x + 1, kTop + kPlot * (1 - accuracy), bin_width - 2, kPlot * accuracy, "f0", 0.75);
    const double height = kCounts * static_cast<double>(bin.count) / static_cast<double>(most);
    svg.rect(x + 1, floor - height, bin_width - 2, height, "f4", 0.75);
  }
  svg.line({kLeft, kTop + kPlot}, {kLeft + kAcross, kTop}, "mark");
  svg.line({kLeft, floor}, {kLeft + kAcross, floor}, "grid");
  svg.text({kLeft - 6, floor - kCounts + 8}, std::to_string(most), "dim", Anchor::end, 11);
  svg.text({kLeft - 6, floor + 4}, "0", "dim", Anchor::end, 11);
  svg.text({kLeft + kAcross / 2, floor + 16}, "confidence; below: samples in each bin", "dim", Anchor::middle, 11);
  return svg.str();
}

std::string temperature_chart(const std::string& title, const std::vector<std::string>& classes,
                              const std::vector<float>& logits, const std::vector<double>& temperatures) {
  check(classes.size() == logits.size(), "temperature chart: ", logits.size(), " logits for ", classes.size(),
        " classes");
  constexpr std::size_t kShown = 8, kLabelLength = 13;
  constexpr double kWidth = 400, kTop = 54, kRow = 24, kRight = 8, kLeft = 104;
  const std::vector<std::int64_t> order = largest(logits, kShown);
  const double column = (kWidth - kLeft - kRight) / static_cast<double>(std::max<std::size_t>(temperatures.size(), 1));
  const double bar = column - 40;
  Svg svg(kWidth, kTop + kRow * static_cast<double>(order.size()) + 12, title);
  for (std::size_t row = 0; row < order.size(); ++row)
    svg.text({kLeft - 8, kTop + kRow * static_cast<double>(row) + 15}, shorten(classes[order[row]], kLabelLength),
             "ink", Anchor::end);
  for (std::size_t t = 0; t < temperatures.size(); ++t) {
    const double x = kLeft + column * static_cast<double>(t);
    svg.text({x, kTop - 10}, "T = " + number(temperatures[t], 3), "head");
    const std::vector<double> p = softened(logits, temperatures[t]);
    for (std::size_t row = 0; row < order.size(); ++row) {
      const double y = kTop + kRow * static_cast<double>(row), share = p[order[row]];
      svg.rect(x, y + 2, bar, kRow - 6, "grid");
      svg.rect(x, y + 2, bar * share, kRow - 6, "f1");
      svg.text({x + bar + 3, y + 15},
               share > 0 && share < 0.001 ? "<.1%" : number(100 * share, share < 0.1 ? 2 : 3) + "%", "dim",
               Anchor::start, 10);
    }
  }
  return svg.str();
}

}  // namespace retort
