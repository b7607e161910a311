// retort bench conv: one convolution, or every distinct convolution of a network.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/random.h"
#include "engine/core/tape.h"
#include "engine/ops/loss.h"
#include "tests/cases/conv2d_shapes.h"
#include "tools/bench/bench.h"
#include "tools/bench/limits.h"
#include "tools/bench/right.h"
#include "tools/cli/progress.h"
#include "tools/run/stock_model.h"

namespace retort {
namespace {

constexpr Word<ConvPass> kPasses[] = {
    {ConvPass::fprop, "fprop"}, {ConvPass::dgrad, "dgrad"}, {ConvPass::wgrad, "wgrad"}};

struct BenchConvOptions : BenchOptions {
  Conv2dGeometry geometry{.n = 8, .h = 56, .c = 64, .k = 64, .r = 3, .pad_h = 1};
  std::optional<std::int64_t> w, s;
  std::optional<ConvPass> pass;
  std::string net;
  bool cases = false;
};

template <class Visitor>
void visit_flags(BenchConvOptions& o, Visitor&& flag) {
  visit_flags(static_cast<BenchOptions&>(o), flag);
  flag("--n", o.geometry.n, "Images", whole_number(1));
  flag("--c", o.geometry.c, "Input channels", whole_number(1));
  flag("--h", o.geometry.h, "Image rows", whole_number(1));
  flag("--w", o.w, "Image columns (default: --h)", whole_number(1));
  flag("--k", o.geometry.k, "Output channels", whole_number(1));
  flag("--r", o.geometry.r, "Filter rows", whole_number(1));
  flag("--s", o.s, "Filter columns (default: --r)", whole_number(1));
  flag("--stride", o.geometry.stride_h, "Both ways", whole_number(1));
  flag("--pad", o.geometry.pad_h, "On all sides", whole_number(0));
  flag("--groups", o.geometry.groups, "Groups of channels, each with filters of its own", whole_number(1));
  flag("--pass", o.pass, "{} (default: all three)", one_of(kPasses));
  flag("--net", o.net, "All distinct convolutions of a network, at its own image size and batch --n", anything());
  flag("--cases", o.cases, "The convolutions of the tests", anything());
  visit_counters(o, flag);
}

std::string pair_text(std::int64_t a, std::int64_t b) { return a == b ? text(a) : text(a, "x", b); }

/// In the words of the flags: "n8 c64 h56 w56 k64 r3 s3 stride1 pad1".
std::string shape_text(const Conv2dGeometry& g) {
  std::string shape = text("n", g.n, " c", g.c, " h", g.h, " w", g.w, " k", g.k, " r", g.r, " s", g.s, " stride",
                           pair_text(g.stride_h, g.stride_w), " pad", pair_text(g.pad_h, g.pad_w));
  if (g.dilation_h != 1 || g.dilation_w != 1) shape += " dilation" + pair_text(g.dilation_h, g.dilation_w);
  if (g.groups != 1) shape += text(" groups", g.groups);
  return shape;
}

std::int64_t x_count(const Conv2dGeometry& g) { return g.n * g.h * g.w * g.c; }
std::int64_t w_count(const Conv2dGeometry& g) { return g.r * g.s * g.c_per_group() * g.k; }
std::int64_t y_count(const Conv2dGeometry& g) { return g.n * g.p() * g.q() * g.k; }

// ---- The convolutions of a network: it runs once on kernels that note their geometry and leave zeros.

struct Noted {
  ConvPass pass;
  Conv2dGeometry geometry;
  std::int64_t count;
};
std::vector<Noted>* notes = nullptr;  // kernels are plain functions: what they write to has to stand outside

void note(ConvPass pass, const Conv2dGeometry& geometry) {
  for (Noted& noted : *notes) {
    if (noted.pass == pass && shape_text(noted.geometry) == shape_text(geometry)) {
      ++noted.count;
      return;
    }
  }
  notes->push_back({pass, geometry, 1});
}

void note_fprop(Stream, const Conv2dGeometry& g, const void*, const void*, const ConvEpilogue&, void* y, void*) {
  note(ConvPass::fprop, g);
  std::memset(y, 0, y_count(g) * sizeof(float));
}
void note_dgrad(Stream, const Conv2dGeometry& g, const void*, const void*, void* dx, void*) {
  note(ConvPass::dgrad, g);
  std::memset(dx, 0, x_count(g) * sizeof(float));
}
void note_wgrad(Stream, const Conv2dGeometry& g, const void*, const void*, void* dw, void*) {
  note(ConvPass::wgrad, g);
  std::memset(dw, 0, w_count(g) * sizeof(float));
}

std::vector<Noted> convolutions_of(const std::string& architecture, std::int64_t batch) {
  constexpr std::int64_t kSmallBatch = 2;  // geometry is all that counts, and batch norm wants two rows
  KernelTable table = kernels_for(Device::cpu, DType::f32);
  table.conv2d.fprop = note_fprop;
  table.conv2d.dgrad = note_dgrad;
  table.conv2d.wgrad = note_wgrad;
  std::vector<Noted> found;
  notes = &found;
  {
    const Model model = stock_model(architecture, 0, 0);
    const Preprocessing& input = model.spec.preprocessing;
    const ScopedKernels scoped(DType::f32, table);
    Tape tape;
    ForwardContext context;
    context.training = true;
    const Tensor x = Tensor::zeros({kSmallBatch, input.image_size, input.image_size, input.channels});
    Targets targets;
    targets.labels = Tensor::zeros({kSmallBatch}, DType::i64);
    tape.backward(cross_entropy(model.network->forward(x, context), targets));
  }
  notes = nullptr;
  for (Noted& noted : found) noted.geometry.n = batch;
  return found;
}

// ---- Measuring

/// A call on buffers of its own.
std::function<void()> conv_call(ConvPass pass, const Conv2dGeometry& g, const Backend& backend, void* workspace,
                                std::uint64_t seed) {
  const auto drawn = [&](const Shape& shape, std::uint64_t index) {
    return random_tensor(shape, backend.dtype, backend.device, 1, Random::of(seed, "bench", index));
  };
  const Tensor x = drawn({g.n, g.h, g.w, g.c}, 0), y = drawn({g.n, g.p(), g.q(), g.k}, 2);
  const Shape filter = {g.r, g.s, g.c_per_group(), g.k};
  const Tensor w = pass == ConvPass::wgrad ? Tensor::empty(filter, parameter_dtype(backend.dtype), backend.device)
                                           : drawn(filter, 1);
  return [=, &kernel = backend.table->conv2d] {
    switch (pass) {
      case ConvPass::fprop: return kernel.fprop({}, g, x.raw(), w.raw(), {}, y.raw(), workspace);
      case ConvPass::dgrad: return kernel.dgrad({}, g, y.raw(), w.raw(), x.raw(), workspace);
      case ConvPass::wgrad: return kernel.wgrad({}, g, x.raw(), y.raw(), w.raw(), workspace);
    }
  };
}

std::vector<BenchResult> measure_conv(ConvPass pass, const Conv2dGeometry& g, const std::vector<Backend>& backends,
                                      const BenchOptions& options) {
  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  std::vector<std::unique_ptr<Workspace>> workspaces;
  for (const Backend& backend : backends) {
    workspaces.push_back(std::make_unique<Workspace>(backend.table->conv2d.workspace_bytes(pass, g), backend.device));
    const DType filter = pass == ConvPass::wgrad ? parameter_dtype(backend.dtype) : backend.dtype;
    const double bytes = static_cast<double>(x_count(g) + y_count(g)) * static_cast<double>(size_of(backend.dtype)) +
                         static_cast<double>(w_count(g)) * static_cast<double>(size_of(filter));
    candidates.push_back(in_rotation(backend.device, bytes, [&] {
      return conv_call(pass, g, backend, workspaces.back()->data(), options.common.seed);
    }));
    candidates.back().error = [=, seed = options.common.seed] { return conv_error(pass, g, backend, seed); };
    results.push_back({.name = "conv." + one_of(kPasses).word_of(pass),
                       .backend = backend,
                       .shape = shape_text(g),
                       .flops = 2.0 * static_cast<double>(g.macs()),
                       .bytes = bytes});
  }
  measure(candidates, options, results);
  return results;
}

void check_geometry(const Conv2dGeometry& g) {
  if (g.p() < 1 || g.q() < 1 || g.h + 2 * g.pad_h < g.r || g.w + 2 * g.pad_w < g.s)
    throw UsageError(text("--r: a filter of ", g.r, " x ", g.s, " is larger than the padded image; give a larger --h"));
  if (g.c % g.groups != 0 || g.k % g.groups != 0)
    throw UsageError(
        text("--groups: ", g.groups, " groups do not divide --c ", g.c, " and --k ", g.k, "; give another"));
}

/// The convolutions of the tests, in every pass.
std::vector<Noted> tested_convolutions() {
  std::vector<Noted> tested;
  for (const auto& [pass, word] : kPasses) {
    for (const test::ConvShape& shape : test::kConvShapes) tested.push_back({pass, shape.geometry, 0});
    for (const test::ConvShape& shape : test::kConvLayers) tested.push_back({pass, shape.geometry, 0});
  }
  return tested;
}

void run_bench_conv(BenchConvOptions options) {
  apply_common_options(options.common);
  catch_interrupts();
  const std::vector<Backend> backends = chosen_backends(options, Subject::conv);
  if (options.cases && !options.net.empty()) throw UsageError("--cases: --net was given too; give one of the two");
  std::vector<Noted> wanted;
  if (options.cases) {
    wanted = tested_convolutions();
  } else if (options.net.empty()) {
    Conv2dGeometry& g = options.geometry;
    g.w = options.w.value_or(g.h);
    g.s = options.s.value_or(g.r);
    g.stride_w = g.stride_h;
    g.pad_w = g.pad_h;
    check_geometry(g);
    for (const auto& [pass, word] : kPasses) wanted.push_back({pass, g, 0});
  } else {
    if (!is_architecture(options.net)) throw UsageError(text("--net: ", no_architecture(options.net)));
    wanted = convolutions_of(options.net, options.geometry.n);
    // Forward shapes first, then the two backward passes, each in the network's order.
    std::stable_sort(wanted.begin(), wanted.end(), [](const Noted& a, const Noted& b) { return a.pass < b.pass; });
  }
  if (options.pass) std::erase_if(wanted, [&](const Noted& noted) { return noted.pass != *options.pass; });

  std::vector<BenchResult> results;
  {
    Progress bar("bench conv", static_cast<std::int64_t>(wanted.size()), options.common.quiet);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      for (BenchResult& result : measure_conv(wanted[i].pass, wanted[i].geometry, backends, options)) {
        result.count = wanted[i].count;
        results.push_back(std::move(result));
      }
      bar.update(static_cast<std::int64_t>(i) + 1);
    }
  }
  print_results(options, results, /*totals=*/!options.net.empty());
}

}  // namespace

void add_bench_conv(CLI::App& bench) {
  add_command<BenchConvOptions>(bench, "conv", "A convolution, or all of a network's", run_bench_conv);
}

}  // namespace retort
