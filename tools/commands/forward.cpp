// retort forward: logits of an array of images, in evaluation mode.
#include <algorithm>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/layout.h"
#include "engine/io/npy.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/arrays.h"

namespace retort {
namespace {

constexpr std::int64_t kBatch = 32;  // bounds the memory, whatever the array's length

struct ForwardOptions {
  CommonOptions common;
  std::string model, weights, input, out;
};

template <class Visitor>
void visit_flags(ForwardOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  flag("--input", o.input, "Normalised images, .npy float32 [N, C, H, W]", required(anything()));
  flag("-o,--out", o.out, "Logits to write, .npy float32 [N, classes]", required(anything()));
}

void run_forward(const ForwardOptions& options) {
  apply_common_options(options.common);
  check_writable(options.out);
  const Tensor images = read_images(options.input);
  const Model model = open_model_for_array(options.model, options.weights, images, options.input, options.common);
  const std::int64_t n = images.shape()[0], classes = static_cast<std::int64_t>(model.spec.classes.size());

  catch_interrupts();
  Tensor logits = Tensor::empty({n, classes});
  {
    Progress bar("forward", n, options.common.quiet);
    for (std::int64_t begin = 0; begin < n; begin += kBatch) {
      if (interrupted()) throw Interrupted{};
      const std::int64_t end = std::min(begin + kBatch, n);
      const Tensor part = infer(*model.network, nchw_to_nhwc(copy_rows(images, begin, end))).to(Device::cpu);
      std::memcpy(logits.data<float>() + begin * classes, part.data<float>(), part.bytes());
      bar.update(end);
    }
  }
  write_npy(options.out, logits);
  say(options.common.quiet, text("saved ", options.out, ": ", describe(logits)));
  if (options.common.json)
    std::cout << json_text(nlohmann::ordered_json{{"out", options.out}, {"samples", n}, {"classes", classes}})
              << std::endl;
}

}  // namespace

void add_forward_command(CLI::App& app) {
  add_command<ForwardOptions>(app, "forward", "Runs a model in evaluation mode on an array", run_forward);
}

}  // namespace retort
