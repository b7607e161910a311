#include "engine/distill/evaluate.h"

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/distill/memory_plan.h"
#include "engine/group/group.h"

namespace retort {

namespace {

double soft_term(const Tensor& student, const Tensor& teacher, const Tensor& labels, DistillationSettings settings) {
  const NoGrad no_grad;
  settings.lambda = 0;  // the soft term alone, and labels only where it reads them itself
  Targets targets;
  targets.labels = labels;
  return distillation_loss(student, teacher, targets, settings).parts.data<float>()[2];
}

/// What is measured of a part of a batch; all empty where that has no rows.
struct Scored {
  Tensor logits, labels, teacher;
};

Scored score(Network& network, const Batch& batch, const EvaluateOptions& options) {
  if (batch.indices.empty()) return {};
  return {.logits = infer(network, batch.inputs[0]).to(Device::cpu),
          .labels = batch.labels,
          .teacher = options.teacher ? options.teacher->logits(batch, 0).to(Device::cpu) : Tensor()};
}

/// Of every rank, in order, where the ranks have parts of their own.
std::vector<Scored> shared(const Scored& mine, const BatchParts& parts) {
  if (parts.taken == parts.count) return {mine};
  const std::vector<Tensor> logits = group().gather_tensors(mine.logits), labels = group().gather_tensors(mine.labels),
                            teacher = group().gather_tensors(mine.teacher);
  std::vector<Scored> all;
  for (std::size_t rank = 0; rank < logits.size(); ++rank) all.push_back({logits[rank], labels[rank], teacher[rank]});
  return all;
}

}  // namespace

Evaluation evaluate(Network& network, const Dataset& dataset, const Preprocessing& preprocessing, std::int64_t classes,
                    const EvaluateOptions& options) {
  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.parts = options.parts;
  loading.workers = options.workers;
  loading.cache_bytes = 0;  // one pass
  loading.preprocessings = {preprocessing};
  if (options.teacher) options.teacher->request_inputs(loading.preprocessings);
  Loader loader(dataset, loading);
  Metrics metrics(classes, options.temperature);
  std::int64_t done = 0;
  double soft = 0;
  loader.start(0, 0);
  for (Batch batch; loader.next(batch);) {
    for (const Scored& rows : shared(score(network, batch, options), options.parts)) {
      if (!rows.logits) continue;
      metrics.add(rows.logits, rows.labels, rows.teacher);
      const std::int64_t n = rows.logits.shape()[0];
      if (rows.teacher && options.distillation)
        soft += static_cast<double>(n) * soft_term(rows.logits, rows.teacher, rows.labels, *options.distillation);
      done += n;
      if (options.progress) options.progress(done);
    }
  }
  Evaluation result = metrics.result();
  if (done > 0) result.soft_loss = soft / static_cast<double>(done);
  return result;
}

void check_teacher_fits(Teacher& teacher, const Dataset& dataset, const LoaderOptions& loading) {
  LoaderOptions options = loading;
  options.preprocessings.clear();
  teacher.request_inputs(options.preprocessings);
  check_fits([&](std::int64_t images) { teacher.logits(blank_batch(options.preprocessings, images), 0); },
             std::min(options.batch_size, dataset.size()), loader_bytes(options));
}

void run_teacher(Teacher& teacher, const Dataset& dataset, const LoaderOptions& loading, std::int64_t views,
                 std::int64_t first, const std::function<bool(const Tensor& logits)>& add) {
  LoaderOptions options = loading;
  options.shuffle = false;
  if (views == 1) options.cache_bytes = 0;
  options.preprocessings.clear();
  teacher.request_inputs(options.preprocessings);
  Group& together = group();
  options.turns = {.count = together.size(), .first = together.rank()};
  Loader loader(dataset, options);
  for (std::int64_t view = first / dataset.size(); view < views; ++view) {
    const std::int64_t done = std::max<std::int64_t>(first - view * dataset.size(), 0);
    const std::int64_t skipped = (done + options.batch_size - 1) / options.batch_size;
    loader.start(0, view, skipped);
    for (std::int64_t at = skipped; at < loader.batches(); at += together.size()) {
      Batch batch;
      Tensor mine;  // none where the turns end before this rank's
      if (loader.next(batch)) mine = teacher.logits(batch, view).to(Device::cpu);
      bool go_on = true;
      for (const Tensor& logits : together.gather_tensors(mine))
        if (logits) go_on &= add(logits);
      if (together.any(!go_on)) return;
    }
  }
}

Tensor collect_logits(Teacher& teacher, const Dataset& dataset, std::int64_t classes, const LoaderOptions& loading,
                      std::int64_t views, const std::function<void(std::int64_t done)>& progress) {
  Tensor result = Tensor::empty({views * dataset.size(), classes});
  check_teacher_fits(teacher, dataset, loading);
  std::int64_t done = 0;
  run_teacher(teacher, dataset, loading, views, 0, [&](const Tensor& logits) {
    check(logits.shape()[1] == classes, "teacher: gives ", logits.shape()[1], " logits where ", classes,
          " classes were expected");
    std::memcpy(result.data<float>() + done * classes, logits.raw(), logits.bytes());
    done += logits.shape()[0];
    if (progress) progress(done);
    return true;
  });
  return result;
}

}  // namespace retort
