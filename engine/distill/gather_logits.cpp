#include "engine/distill/gather_logits.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "engine/core/check.h"

namespace retort {
namespace {

using RowOf = std::unordered_map<std::string_view, std::int64_t>;

std::string_view without_folder(std::string_view name) { return name.substr(name.rfind('/') + 1); }

/// How often each name without its folder is in the dataset.
RowOf bare_names(const Dataset& dataset) {
  RowOf times;
  for (std::int64_t i = 0; i < dataset.size(); ++i) ++times[without_folder(dataset.name(i))];
  return times;
}

/// What must hold between the stores, and with the dataset; returns the one with the most views.
const LogitStore& check_stores(const std::vector<LogitStore>& stores, const std::vector<std::string>& paths,
                               const Dataset& dataset) {
  check(!stores.empty() && stores.size() == paths.size(), "logit stores: none are given; give at least one");
  const auto most = std::ranges::max_element(stores, {}, &LogitStore::views);
  for (std::size_t k = 0; k < stores.size(); ++k) {
    const LogitStore& store = stores[k];
    check(store.classes == (dataset.labelled() ? dataset.classes() : stores[0].classes), paths[k],
          ": its classes are not those of ", dataset.labelled() ? "the images" : paths[0],
          ", in the same order; use logits of the same classes");
    check(store.views == 1 ||
              (store.views == most->views && store.augmentation == most->augmentation && store.seed == most->seed),
          paths[k], ": its views are not those of ", paths[static_cast<std::size_t>(most - stores.begin())],
          "; write both with the same --views, --augment and --seed");
  }
  return *most;
}

}  // namespace

LogitStore gather_logits(const std::vector<LogitStore>& stores, const std::vector<std::string>& paths,
                         const Dataset& dataset) {
  const LogitStore& most = check_stores(stores, paths, dataset);
  const std::int64_t n = dataset.size(), classes = most.logits.classes();
  LogitStore gathered;
  gathered.classes = most.classes;
  gathered.teacher = most.teacher;
  gathered.preprocessing = most.preprocessing;
  gathered.views = most.views;
  gathered.augmentation = most.augmentation;
  gathered.seed = most.seed;
  gathered.combine = most.combine;
  const Tensor logits = Tensor::empty({most.views * n, classes});
  gathered.logits = logits;
  const bool hashed = std::ranges::none_of(stores, [](const LogitStore& store) { return store.hashes.empty(); });

  std::vector<RowOf> row_of(stores.size());
  for (std::size_t k = 0; k < stores.size(); ++k)
    for (std::int64_t row = 0; row < stores[k].samples(); ++row)
      row_of[k].emplace(stores[k].names[static_cast<std::size_t>(row)], row);
  const RowOf bare = bare_names(dataset);

  for (std::int64_t i = 0; i < n; ++i) {
    const std::string_view name = dataset.name(i), short_name = without_folder(name);
    std::size_t k = 0;
    auto found = row_of[0].end();
    for (; k < stores.size(); ++k) {
      found = row_of[k].find(name);
      if (found == row_of[k].end() && stores[k].hashes.empty() && bare.at(short_name) == 1)
        found = row_of[k].find(short_name);
      if (found != row_of[k].end()) break;
    }
    check(k<stores.size(), name, ": has no logits in ", paths[0], stores.size()> 1
              ? text(" or the ", stores.size() - 1, " others")
              : std::string(),
          "; add logits of this image");
    const LogitStore& store = stores[k];
    const std::int64_t row = found->second;
    if (!store.hashes.empty())
      check(store.hashes[static_cast<std::size_t>(row)] == dataset.content_hash(i), name,
            ": its content changed since ", paths[k], " was written; restore it or write the logits again");
    for (std::int64_t view = 0; view < most.views; ++view) {
      const std::int64_t from = (store.views == 1 ? 0 : view) * store.samples() + row;
      store.logits.read(from, logits.rows(view * n + i, 1).span<float>());
    }
  }
  for (std::int64_t view = 0; view < most.views; ++view)
    for (std::int64_t i = 0; i < n; ++i) {
      gathered.names.push_back(dataset.name(i));
      if (hashed) gathered.hashes.push_back(dataset.content_hash(i));
    }
  return gathered;
}

}  // namespace retort
