#include "engine/distill/evaluate.h"

#include <cstring>

#include "engine/core/check.h"
#include "engine/core/tape.h"

namespace retort {

Tensor infer(Network& network, const Tensor& images) {
  const NoGrad no_grad;
  ForwardContext context;
  return network.forward(images.to(device_of(network)), context);
}

Evaluation evaluate(Network& network, const Dataset& dataset, const Preprocessing& preprocessing, std::int64_t classes,
                    const EvaluateOptions& options) {
  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.workers = options.workers;
  loading.preprocessings = {preprocessing};
  if (options.teacher) options.teacher->request_inputs(loading.preprocessings);
  Loader loader(dataset, loading);
  Metrics metrics(classes, options.temperature);
  std::int64_t done = 0;
  loader.start(0, 0);
  for (Batch batch; loader.next(batch);) {
    const Tensor logits = infer(network, batch.inputs[0]).to(Device::cpu);
    const Tensor taught = options.teacher ? options.teacher->logits(batch, 0) : Tensor();
    metrics.add(logits, batch.labels, taught.to(Device::cpu));
    done += static_cast<std::int64_t>(batch.indices.size());
    if (options.progress) options.progress(done);
  }
  return metrics.result();
}

Tensor collect_logits(Teacher& teacher, const Dataset& dataset, std::int64_t classes, const LoaderOptions& loading,
                      std::int64_t views, const std::function<void(std::int64_t done)>& progress) {
  LoaderOptions options = loading;
  options.shuffle = false;
  options.preprocessings.clear();
  teacher.request_inputs(options.preprocessings);
  Loader loader(dataset, options);
  Tensor result = Tensor::empty({views * dataset.size(), classes});
  std::int64_t done = 0;
  for (std::int64_t view = 0; view < views; ++view) {
    loader.start(0, view);
    for (Batch batch; loader.next(batch);) {
      const Tensor logits = teacher.logits(batch, view).to(Device::cpu);
      check(logits.shape()[1] == classes, "teacher: gives ", logits.shape()[1], " logits where ", classes,
            " classes were expected");
      std::memcpy(result.data<float>() + done * classes, logits.raw(), logits.bytes());
      done += logits.shape()[0];
      if (progress) progress(done);
    }
  }
  return result;
}

}  // namespace retort
