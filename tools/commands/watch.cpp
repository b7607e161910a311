// retort watch: the curves of runs while they go on, from the logs that they write.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/report/charts.h"
#include "engine/report/page.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/cli/terminal.h"
#include "tools/cli/visible.h"
#include "tools/commands/commands.h"
#include "tools/run/run_log.h"

namespace retort {
namespace {

struct WatchOptions {
  CommonOptions common;
  std::vector<std::string> logs;
  std::string html;
  bool once = false;
};

template <class Visitor>
void visit_flags(WatchOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("LOG", o.logs, "Logs that --log of train, distill and sweep writes", required(anything()));
  flag("--html", o.html, "Page to keep up to date (.html)", file_name(".html"));
  flag("--once", o.once, "Show what is there, and end (default where stdout is no terminal, without --html)",
       anything());
}

constexpr int kRefreshSeconds = 2, kChartHeight = 12;

/// "-" where the epoch does not say it.
std::string value_of(const LoggedEpoch& epoch, const std::string& key, double scale, const char* format) {
  const auto found = epoch.find(key);
  if (found == epoch.end()) return "-";
  char digits[48];
  std::snprintf(digits, sizeof digits, format, scale * found->second);
  return digits;
}

const std::vector<std::string>& columns() {
  static const std::vector<std::string> names = {"run",      "epoch",         "train loss", "val loss",
                                                 "accuracy", "best accuracy", "lr",         "images a second"};
  return names;
}

/// What the last epoch says of a run, column by column; dashes for one that has none.
std::vector<std::string> row_of(const RunLog& run) {
  const LoggedEpoch none, &last = run.epochs.empty() ? none : run.epochs.back();
  const LoggedEpoch* const best = best_epoch(run);
  const std::string accuracy = last.contains("val_accuracy") ? "val_accuracy" : "train_accuracy";
  std::string highest = value_of(best ? *best : none, accuracy, 100, "%.2f%%");
  if (highest != "-") highest += value_of(*best, "epoch", 1, " in epoch %.0f");
  return {run.name,
          value_of(last, "epoch", 1, "%.0f"),
          value_of(last, "train_loss", 1, "%.4g"),
          value_of(last, "val_loss", 1, "%.4g"),
          value_of(last, accuracy, 100, "%.2f%%"),
          highest,
          value_of(last, "lr", 1, "%.3g"),
          value_of(last, "images_per_second", 1, "%.0f")};
}

/// For a terminal `width` wide, with colours; or plain, with letters in their place.
class Screen {
 public:
  Screen(int width, bool colours) : width_(width), colours_(colours) {}

  std::string show(const std::vector<RunLog>& runs) const {
    std::string screen;
    for (std::size_t i = 0; i < runs.size(); ++i) screen += summary(runs[i], runs.size() > 1 ? mark(i) + " " : "");
    for (const LoggedCurves& curves : curves_of(runs)) {
      std::string title = curves.title;
      if (runs.size() == 1)
        for (std::size_t i = 0; i < curves.series.size(); ++i) title += "   " + mark(i) + " " + curves.series[i].name;
      screen += "\n" + character_chart(title, "epoch", curves.series, width_, kChartHeight,
                                       [this](std::size_t series) { return mark(series); });
    }
    return screen;
  }

 private:
  std::string mark(std::size_t series) const {
    constexpr int kColours[] = {36, 33, 32, 35, 34, 31};
    if (colours_) return text("\033[", kColours[series % std::size(kColours)], "m\u2022\033[0m");
    return std::string(1, static_cast<char>('a' + series % 26));
  }
  std::string summary(const RunLog& run, const std::string& before) const {
    if (run.epochs.empty()) return text(before, visible_name(run.name), "  no epoch yet\n");
    const std::vector<std::string> row = row_of(run);
    const auto piece = [&](const char* words, std::size_t at) {
      return row[at] == "-" ? std::string() : words + row[at];
    };
    std::string line = text(visible_name(row[0]), "  epoch ", row[1]);
    for (const std::string& words : {piece("  loss ", 2), piece(", val ", 3), piece("  accuracy ", 4),
                                     piece(", best ", 5), piece("  lr ", 6), row[7] == "-" ? "" : "  " + row[7] + "/s"})
      if (line.size() + words.size() <= static_cast<std::size_t>(std::max(0, width_ - 2))) line += words;
    return text(before, line, "\n");
  }

  int width_;
  bool colours_;
};

/// `live`: the page reads itself anew.
std::string page_of(const std::vector<RunLog>& runs, bool live) {
  Page page(runs.size() == 1 ? "Training: " + runs[0].name : text("Training: ", runs.size(), " runs"));
  if (live) page.refresh(kRefreshSeconds);
  std::vector<std::vector<std::string>> rows;
  for (const RunLog& run : runs) rows.push_back(row_of(run));
  page.table(columns(), rows);
  for (const LoggedCurves& curves : curves_of(runs)) page.figure(line_chart(curves.title, "epoch", curves.series));
  return page.str();
}

nlohmann::ordered_json json_of(const std::vector<RunLog>& runs) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const RunLog& run : runs) {
    nlohmann::ordered_json one = {{"log", run.path}, {"epochs", run.epochs.size()}};
    if (!run.epochs.empty()) {
      one["last"] = run.epochs.back();
      one["best"] = *best_epoch(run);
    }
    list.push_back(std::move(one));
  }
  return {{"runs", list}};
}

void check_there(const std::vector<RunLog>& runs) {
  for (const RunLog& run : runs)
    check(!run.epochs.empty(), run.path, ": no epoch is there yet; check the path, or leave --once out and wait");
}

/// Draws over what was drawn before.
void draw(const std::string& screen) {
  std::string drawn = "\033[H";
  for (const char c : screen) drawn += c == '\n' ? std::string("\033[K\n") : std::string(1, c);
  drawn += "\033[J";
  std::fputs(drawn.c_str(), stdout);
  std::fflush(stdout);
}

void write_page(const WatchOptions& options, const std::vector<RunLog>& runs, bool live) {
  if (!options.html.empty()) write_atomic(options.html, page_of(runs, live));
}

/// Until the user has seen enough.
void follow(const WatchOptions& options, bool terminal) {
  catch_interrupts();
  std::string shown, page;
  if (terminal) std::fputs("\033[2J", stdout);
  while (!interrupted()) {
    const std::vector<RunLog> runs = read_run_logs(options.logs);
    if (terminal) {
      const std::string screen =
          Screen(terminal_columns(Output::out), /*colours=*/true).show(runs) + "\nCtrl-C ends this view\n";
      if (screen != shown) draw(shown = screen);
    }
    if (std::string now = page_of(runs, /*live=*/true); !options.html.empty() && now != page)
      write_atomic(options.html, page = std::move(now));
    for (int i = 0; i < 10 * kRefreshSeconds && !interrupted(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  write_page(options, read_run_logs(options.logs), /*live=*/false);
}

void run_watch(const WatchOptions& options) {
  for (const std::string& log : options.logs)
    if (log == options.html) throw UsageError(text("--html: ", log, " is a log; name another file"));
  if (!options.html.empty()) check_writable(options.html);
  const bool terminal = is_terminal(Output::out);
  if (!options.common.json && !options.once && (terminal || !options.html.empty())) return follow(options, terminal);
  const std::vector<RunLog> runs = read_run_logs(options.logs);
  check_there(runs);
  write_page(options, runs, /*live=*/false);
  if (options.common.json) {
    std::cout << json_text(json_of(runs)) << std::endl;
    return;
  }
  std::fputs(Screen(terminal_columns(Output::out), terminal).show(runs).c_str(), stdout);
}

}  // namespace

void add_watch_command(CLI::App& app) {
  add_command<WatchOptions>(app, "watch", "Curves of runs as they go on, from their logs", run_watch);
}

}  // namespace retort
