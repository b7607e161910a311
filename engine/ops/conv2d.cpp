// y = conv(x, weight) + bias, then max(0, y) if relu.
//
// With dz the gradient before the activation:  dbias = sum over n, p, q of dz,  dweight = wgrad(x, dz),
// dx = dgrad(dz, weight).
#include "engine/ops/conv2d.h"

#include "engine/core/recorder.h"
#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/spatial.h"

namespace retort {
namespace {

Conv2dGeometry geometry(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  check_input("conv2d", x, 4, "[n, h, w, c]");
  check_input("conv2d", weight, 4, "[r, s, c / groups, k] for the weight");
  const Shape &in = x.shape(), &filter = weight.shape();
  check(x.count() > 0, "[conv2d] the input has the shape ", in, "; give at least one image");
  check(o.stride_h >= 1 && o.stride_w >= 1 && o.dilation_h >= 1 && o.dilation_w >= 1 && o.pad_h >= 0 && o.pad_w >= 0 &&
            o.groups >= 1,
        "[conv2d] stride ", o.stride_h, " x ", o.stride_w, ", dilation ", o.dilation_h, " x ", o.dilation_w,
        ", padding ", o.pad_h, " x ", o.pad_w, ", groups ", o.groups, "; all are at least 1, the padding at least 0");
  check(filter[2] * o.groups == in[3] && filter[3] % o.groups == 0 && weight.dtype() == parameter_dtype(x.dtype()),
        "[conv2d] the weight ", to_string(weight.dtype()), " ", filter, " does not fit the input ",
        to_string(x.dtype()), " ", in, " in ", o.groups,
        " groups; give [r, s, c / groups, k], k a multiple of groups, of one dtype");
  if (bias) check_operand("conv2d", "the bias", bias, {filter[3]}, weight.dtype());
  check_device("conv2d", x, weight);
  const std::int64_t rows = o.dilation_h * (filter[0] - 1) + 1, columns = o.dilation_w * (filter[1] - 1) + 1;
  const std::int64_t height = in[1] + 2 * o.pad_h + o.more_below, width = in[2] + 2 * o.pad_w + o.more_right;
  check(height >= rows && width >= columns, "[conv2d] the image ", in, ", with its padding ", height, " x ", width,
        ", is smaller than the filter of ", rows, " x ", columns, "; use a larger --image-size");
  return {in[0],      in[1],   in[2],   in[3],        filter[3],    filter[0], filter[1],    o.stride_h,
          o.stride_w, o.pad_h, o.pad_w, o.dilation_h, o.dilation_w, o.groups,  o.more_below, o.more_right};
}

Tensor run_forward(const Conv2dGeometry& g, const Tensor& x, const PreparedFilter& filter,
                   const ConvEpilogue& epilogue) {
  Tensor y = Tensor::empty_like(x, {g.n, g.p(), g.q(), g.k});
  const Conv2dKernels& conv = kernels(x).conv2d;
  const Workspace workspace(conv.workspace_bytes(ConvPass::fprop, g), x.device());
  if (filter.laid_out)
    conv.prepared->fprop({}, g, x.raw(), filter.laid_out.raw(), epilogue, y.raw(), workspace.data());
  else
    conv.fprop({}, g, x.raw(), filter.weight.raw(), epilogue, y.raw(), workspace.data());
  return y;
}

void note_conv(const char* op, std::vector<Tensor> inputs, const Tensor& y, const Conv2dOptions& o, double eps = 0) {
  if (Recorder* recorder = Recorder::active())
    recorder->note({op,
                    std::move(inputs),
                    y,
                    {{"stride_h", static_cast<double>(o.stride_h)},
                     {"stride_w", static_cast<double>(o.stride_w)},
                     {"pad_h", static_cast<double>(o.pad_h)},
                     {"pad_w", static_cast<double>(o.pad_w)},
                     {"dilation_h", static_cast<double>(o.dilation_h)},
                     {"dilation_w", static_cast<double>(o.dilation_w)},
                     {"groups", static_cast<double>(o.groups)},
                     {"relu", o.relu ? 1.0 : 0.0},
                     {"eps", eps}}});
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  const Conv2dGeometry g = geometry(x, weight, bias, options);
  check(options.more_below == 0 && options.more_right == 0,
        "[conv2d] more padding below or on the right: only conv2d_inference takes it; use pad");
  Tensor filter = filter_like(x, weight);
  Tensor y = run_forward(g, x, {filter, {}}, {.bias = bias.raw(), .relu = options.relu});
  note_conv("conv2d", {x, weight, bias}, y, options);

  if (Tape* tape = recording({&x, &weight, &bias})) {
    y.require_grad();
    tape->record("conv2d", [g, slot_y = y.slot(), slot_x = x.slot(), slot_w = weight.slot(), slot_b = bias.slot(),
                            x = weight.slot() ? Saved(x) : Saved(), filter = x.slot() ? std::move(filter) : Tensor(),
                            shape = weight.shape(), y = options.relu ? y.detached() : Tensor()]() mutable {
      Tensor dz = take_grad(*slot_y);
      if (!dz) return;
      if (y) dz = relu_gradient(y, dz);
      y = {};
      if (slot_b) accumulate(*slot_b, bias_gradient(dz));
      const Conv2dKernels& conv = kernels(dz).conv2d;
      if (slot_w) {
        Tensor dw = empty_parameter(dz, shape);
        const Tensor input = x.take();
        const Workspace workspace(conv.workspace_bytes(ConvPass::wgrad, g), dz.device());
        conv.wgrad({}, g, input.raw(), dz.raw(), dw.raw(), workspace.data());
        accumulate(*slot_w, std::move(dw));
      }
      if (slot_x) {
        Tensor dx = Tensor::empty_like(dz, {g.n, g.h, g.w, g.c});
        const Workspace workspace(conv.workspace_bytes(ConvPass::dgrad, g), dz.device());
        conv.dgrad({}, g, dz.raw(), filter.raw(), dx.raw(), workspace.data());
        accumulate(*slot_x, std::move(dx));
      }
    });
  }
  return y;
}

Tensor conv2d_inference(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                        const ConvTail& tail, PreparedFilters* filters) {
  check(options.more_below >= 0 && options.more_right >= 0, "[conv2d_inference] ", options.more_below,
        " more rows below and ", options.more_right,
        " more columns on the right; give 0 at least, and more above or on the left by pad");
  if ((options.more_below != 0 || options.more_right != 0) && !kernels(x).conv2d.uneven_padding) {
    Conv2dOptions even = options;
    even.more_below = even.more_right = 0;
    return conv2d_inference(pad(x, {.bottom = options.more_below, .right = options.more_right}), weight, bias, even,
                            tail, filters);
  }
  const Conv2dGeometry g = geometry(x, weight, bias, options);
  const RunningNorm* norm = tail.norm;
  const bool asked = norm != nullptr ? recording({&x, &weight, &bias, &tail.residual, &norm->gamma, &norm->beta})
                                     : recording({&x, &weight, &bias, &tail.residual});
  check(!asked, "[conv2d_inference] a gradient is to be recorded, and it has none; use conv2d and the ops after it");
  if (tail.residual) {
    check_operand("conv2d_inference", "the residual", tail.residual, {g.n, g.p(), g.q(), g.k}, x.dtype());
    check_device("conv2d_inference", x, tail.residual);
  }
  Tensor scale, shift;
  if (norm != nullptr) {
    const DType dtype = weight.dtype();
    check_operand("conv2d_inference", "gamma", norm->gamma, {g.k}, dtype);
    check_operand("conv2d_inference", "beta", norm->beta, {g.k}, dtype);
    check_operand("conv2d_inference", "running_mean", norm->running_mean, {g.k}, dtype);
    check_operand("conv2d_inference", "running_var", norm->running_var, {g.k}, dtype);
    check_device("conv2d_inference", x, norm->gamma);
    scale = empty_parameter(x, {g.k}), shift = empty_parameter(x, {g.k});
    kernels(x).batch_norm.fold({}, g.k, norm->gamma.raw(), norm->beta.raw(), norm->running_mean.raw(),
                               norm->running_var.raw(), norm->eps, bias.raw(), scale.raw(), shift.raw());
  }
  Tensor y = run_forward(
      g, x, filters != nullptr ? filters->get(g, weight, x.dtype()) : PreparedFilter{filter_like(x, weight), {}},
      {.scale = scale.raw(),
       .bias = norm != nullptr ? shift.raw() : bias.raw(),
       .residual = tail.residual.raw(),
       .relu = options.relu,
       .ceiling = tail.ceiling});
  note_conv("conv2d_inference", {x, weight, bias, norm != nullptr ? norm->gamma : Tensor(), tail.residual}, y, options,
            norm != nullptr ? norm->eps : 0);
  return y;
}

}  // namespace retort
