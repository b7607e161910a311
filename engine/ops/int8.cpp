// y = clamp(round((s_x s_w[k] sum + b[k] + s_r (r - z_r)) / s_y) + z_y), sum over (x - z_x) w: what a packed filter
// holds is this with the constants multiplied out, in double.
#include "engine/ops/int8.h"

#include <array>
#include <cmath>

#include "engine/ops/common.h"

namespace retort {
namespace {

constexpr float kMost = 255;

void check_bytes(const char* op, const Tensor& x, int rank, const char* layout) {
  check(x && x.dtype() == DType::u8 && (rank == 0 || x.shape().rank() == rank), "[", op, "] the input is ",
        x ? text(to_string(x.dtype()), " ", x.shape()) : "empty", "; give u8 ", layout);
}

Tensor bytes_like(const Tensor& x, const Shape& shape) { return Tensor::empty(shape, DType::u8, x.device()); }

/// The geometry as far as packing reads it.
Conv2dGeometry filter_geometry(const PackedInt8Filter& filter) {
  return {.n = 1, .h = filter.r, .w = filter.s, .c = filter.c, .k = filter.k, .r = filter.r, .s = filter.s};
}

}  // namespace

const Int8Kernels& int8_kernels(const char* op, Device device) {
  check(device == Device::cpu, "[", op, "] the network has 8-bit layers, which run on the CPU alone, not on ",
        to_string(device), "; give --device cpu");
  return int8_kernels_for(device);
}

Tensor quantize(const Tensor& x, const Quantization& to) {
  check(x && (x.dtype() == DType::f32 || x.dtype() == DType::bf16), "[quantize] the input is ",
        x ? to_string(x.dtype()) : "empty", "; give f32 or bf16");
  const Tensor floats = x.dtype() == DType::f32 ? x : x.to(DType::f32);
  Tensor y = bytes_like(x, x.shape());
  int8_kernels("quantize", x.device()).quantize({}, x.count(), to, floats.data<float>(), y.data<std::uint8_t>());
  return y;
}

Tensor dequantize(const Tensor& x, const Quantization& from) {
  check_bytes("dequantize", x, 0, "of any shape");
  Tensor y = Tensor::empty(x.shape(), DType::f32, x.device());
  int8_kernels("dequantize", x.device()).dequantize({}, x.count(), from, x.data<std::uint8_t>(), y.data<float>());
  return y;
}

PackedInt8Filter pack_int8(const Int8FilterParts& parts, Device device) {
  const Shape& shape = parts.weight.shape();
  check(parts.weight.dtype() == DType::i8 && shape.rank() == 4, "[pack_int8] the weight is ",
        to_string(parts.weight.dtype()), " ", shape, "; give i8 [r, s, c, k]");
  check_operand("pack_int8", "the scale", parts.scale, {shape[3]}, DType::f32);
  check_operand("pack_int8", "the bias", parts.bias, {shape[3]}, DType::f32);
  check(shape[0] * shape[1] * shape[2] <= kMaxInt8Depth, "[pack_int8] a sum of ", shape[0] * shape[1] * shape[2],
        " products may overflow 32 bits; keep the layer in float (at most ", kMaxInt8Depth, ")");
  PackedInt8Filter filter{{}, &int8_kernels("pack_int8", device), shape[0], shape[1], shape[2], shape[3], parts.input};
  const auto channels = static_cast<std::size_t>(shape[3]);
  std::vector<float> scale(channels), bias(channels);
  const double out = parts.output ? parts.output->scale : 1;
  double shift = parts.output ? parts.output->zero : 0;
  if (parts.residual) shift -= double{parts.residual->scale} / out * parts.residual->zero;
  for (std::size_t k = 0; k < channels; ++k) {
    scale[k] = static_cast<float>(double{parts.input.scale} * parts.scale.data<float>()[k] / out);
    bias[k] = static_cast<float>(parts.bias.data<float>()[k] / out + shift);
  }
  const Conv2dGeometry g = filter_geometry(filter);
  filter.memory = Tensor::empty({static_cast<std::int64_t>(filter.kernels->packed_bytes(g))}, DType::u8, device);
  filter.kernels->pack(g, {parts.weight.data<std::int8_t>(), scale.data(), bias.data(), parts.input.zero},
                       filter.memory.raw());
  return filter;
}

Tensor conv2d_int8(const Tensor& x, const PackedInt8Filter& filter, const Int8Options& options,
                   const Tensor& residual) {
  check_bytes("conv2d_int8", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  const Conv2dOptions& o = options.conv;
  check(in[3] == filter.c && x.count() > 0, "[conv2d_int8] the filter of ", filter.c,
        " channels does not fit the input ", in, "; give its channels");
  const std::int64_t tall = o.dilation_h * (filter.r - 1) + 1, wide = o.dilation_w * (filter.s - 1) + 1;
  check(in[1] + 2 * o.pad_h >= tall && in[2] + 2 * o.pad_w >= wide, "[conv2d_int8] the image ", in, " with padding ",
        o.pad_h, " x ", o.pad_w, " is smaller than the filter of ", tall, " x ", wide, "; use a larger --image-size");
  const Conv2dGeometry g{in[0],      in[1],      in[2],   in[3],   filter.k,     filter.r,     filter.s,
                         o.stride_h, o.stride_w, o.pad_h, o.pad_w, o.dilation_h, o.dilation_w, 1};
  const Shape shape{g.n, g.p(), g.q(), g.k};
  Int8Epilogue epilogue;
  if (residual) {
    check(options.residual, "[conv2d_int8] the filter was packed for no residual; pack it with one");
    check_operand("conv2d_int8", "the residual", residual, shape, DType::u8);
    epilogue.residual = residual.data<std::uint8_t>();
    epilogue.residual_scale =
        static_cast<float>(double{options.residual->scale} / (options.output ? options.output->scale : 1));
  }
  if (options.output) {
    epilogue.low = o.relu ? static_cast<float>(options.output->zero) : 0;
  } else {
    epilogue.y = DType::f32;
    epilogue.low = o.relu ? 0 : -INFINITY;
    epilogue.high = INFINITY;
  }
  Tensor y = Tensor::empty(shape, epilogue.y, x.device());
  const Workspace workspace(filter.kernels->workspace_bytes(g), x.device());
  filter.kernels->conv({}, g, filter.input.zero, x.data<std::uint8_t>(), filter.memory.raw(), epilogue, y.raw(),
                       workspace.data());
  return y;
}

Tensor add_int8(const Tensor& a, const Quantization& from_a, const Tensor& b, const Quantization& from_b,
                const Quantization& to, bool relu) {
  check_bytes("add_int8", a, 0, "of any shape");
  check_operand("add_int8", "the second operand", b, a.shape(), DType::u8);
  const double factor_a = double{from_a.scale} / to.scale, factor_b = double{from_b.scale} / to.scale;
  const double offset = to.zero - factor_a * from_a.zero - factor_b * from_b.zero;
  Tensor y = bytes_like(a, a.shape());
  int8_kernels("add_int8", a.device())
      .add({}, a.count(), a.data<std::uint8_t>(), static_cast<float>(factor_a), b.data<std::uint8_t>(),
           static_cast<float>(factor_b), static_cast<float>(offset), relu ? static_cast<float>(to.zero) : 0,
           y.data<std::uint8_t>());
  return y;
}

Tensor concat_int8(const std::vector<Tensor>& parts, const std::vector<Quantization>& from, const Quantization& to) {
  check(!parts.empty() && parts.size() == from.size(), "[concat_int8] ", parts.size(), " parts and ", from.size(),
        " scales; give at least one, and one for each");
  const Tensor& first = parts[0];
  std::int64_t channels = 0;
  for (const Tensor& part : parts) {
    check_bytes("concat_int8", part, 4, "[n, h, w, c]");
    const Shape &shape = part.shape(), &other = first.shape();
    check(shape[0] == other[0] && shape[1] == other[1] && shape[2] == other[2], "[concat_int8] a part is ", shape,
          ", the first ", other, "; only the channels may differ");
    channels += shape[3];
  }
  const Shape& shape = first.shape();
  Tensor y = bytes_like(first, {shape[0], shape[1], shape[2], channels});
  const std::int64_t rows = shape[0] * shape[1] * shape[2];
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::array<std::uint8_t, 256> table;
    for (int q = 0; q < 256; ++q) {
      const double real = double{from[i].scale} * (q - from[i].zero);
      const double wanted = from[i] == to ? q : std::nearbyint(real / to.scale) + to.zero;
      table[static_cast<std::size_t>(q)] = static_cast<std::uint8_t>(std::min(std::max(wanted, 0.0), double{kMost}));
    }
    const std::int64_t count = parts[i].shape()[3];
    int8_kernels("concat_int8", y.device())
        .lookup({}, rows, count, table.data(), parts[i].data<std::uint8_t>(), channels, begin, y.data<std::uint8_t>());
    begin += count;
  }
  return y;
}

Tensor max_pool_int8(const Tensor& x, const PoolOptions& options) {
  check_bytes("max_pool_int8", x, 4, "[n, h, w, c]");
  const Pool2dGeometry g = pool_geometry("max_pool_int8", x.shape(), options);
  Tensor y = bytes_like(x, {g.n, g.p(), g.q(), g.c});
  int8_kernels("max_pool_int8", x.device()).max_pool({}, g, x.data<std::uint8_t>(), y.data<std::uint8_t>());
  return y;
}

Tensor mean_int8(const Tensor& x, const Quantization& from) {
  check_bytes("mean_int8", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  const std::int64_t pixels = in[1] * in[2];
  constexpr std::int64_t kMostPixels = 1 << 23;
  check(pixels >= 1 && pixels <= kMostPixels, "[mean_int8] a map of ", in, "; give at most ", kMostPixels, " pixels");
  Tensor y = Tensor::empty({in[0], 1, 1, in[3]}, DType::f32, x.device());
  int8_kernels("mean_int8", x.device()).mean({}, in[0], pixels, in[3], from, x.data<std::uint8_t>(), y.data<float>());
  return y;
}

}  // namespace retort
