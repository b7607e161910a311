// retort combine: the store of an ensemble from its members' stores; no teacher runs again.
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/logit_store.h"
#include "engine/distill/teacher.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/teachers.h"
#include "tools/run/training.h"

namespace retort {
namespace {

struct CombineOptions {
  CommonOptions common;
  std::vector<std::string> stores;
  std::vector<double> weights;
  Combine combine = Combine::logit;
  std::string out, csv;
};

template <class Visitor>
void visit_flags(CombineOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("stores", o.stores, "A.npy B.npy ...", required(anything()));
  flag("--teacher-weights,--weights", o.weights, "One number for each store (default: equal)", number_above(0));
  flag("--combine", o.combine, "{}", one_of(kCombines));
  flag("-o,--out", o.out, "Store to write (.npy; its index .json beside it)", required(file_name(".npy")));
  flag("--csv", o.csv, "The same logits as a table", anything());
}

void validate(const CombineOptions& options) {
  if (options.stores.size() < 2) throw UsageError("combine: needs two stores or more; give A.npy B.npy ...");
  check_weights("--teacher-weights", options.weights, options.stores.size(), "stores");
}

/// Rows must be of the same images, seen the same way.
void check_same(const LogitStore& store, const std::string& path, const LogitStore& first, const std::string& base) {
  const auto same = [&](bool equal, const char* what) {
    check(equal, path, ": has other ", what, " than ", base, "; make both with `retort logits` from the same images");
  };
  same(store.classes == first.classes, "classes");
  same(store.names == first.names, "image names");
  same(store.hashes == first.hashes, "image contents");
  const Augmentation &a = store.augmentation, &b = first.augmentation;
  same(store.views == first.views && a.flip == b.flip && a.crop == b.crop && a.jitter == b.jitter &&
           (!a.any() || store.seed == first.seed),
       "views");
}

void run_combine(const CombineOptions& options) {
  apply_common_options(options.common);
  validate(options);
  const std::string combine = one_of(kCombines).word_of(options.combine);
  std::vector<NamedFile> read;
  for (const std::string& path : options.stores)
    for (const std::string& file : {path, index_path(path)}) read.push_back({"stores", file});
  check_outputs({{"--out", options.out}, {"--out", index_path(options.out)}, {"--csv", options.csv}}, read);
  check_writable(options.out);
  if (!options.csv.empty()) check_writable(options.csv);
  LogitStore result;
  std::vector<Tensor> logits;
  for (const std::string& path : options.stores) {
    LogitStore store = read_logit_store(path, logits.empty() ? std::vector<std::string>{} : result.classes);
    if (!store.remark.empty()) say(options.common.quiet, text("warning: ", store.remark));
    logits.push_back(store.logits.tensor());
    if (logits.size() == 1) {
      result = std::move(store);
      continue;
    }
    check_same(store, path, result, options.stores.front());
    result.teacher += "," + store.teacher;
    result.preprocessing.insert(result.preprocessing.end(), store.preprocessing.begin(), store.preprocessing.end());
  }
  result.logits = combine_logits(logits, options.combine, options.weights);
  result.combine = combine;
  write_logit_store(options.out, result, options.csv);
  const std::int64_t rows = result.logits.rows();
  say(options.common.quiet, text("saved ", rows, " rows of ", result.classes.size(), " logits, the ", combine,
                                 " mean of ", logits.size(), " stores, in ", options.out));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"rows", rows}, {"stores", logits.size()}, {"logits", options.out}})
              << std::endl;
}

}  // namespace

void add_combine_command(CLI::App& app) {
  add_command<CombineOptions>(app, "combine", "The store of an ensemble from its members' stores", run_combine);
}

}  // namespace retort
