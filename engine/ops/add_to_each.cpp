// y[n, ...] = x[n, ...] + s;  dx = dy, ds = dy summed over the images
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/spatial.h"

namespace retort {

Tensor add_to_each(const Tensor& x, const Tensor& s) {
  check(x && s && x.shape().rank() >= 2 && x.count() > 0, "[add_to_each] x is ", x ? to_string(x.shape()) : "empty",
        "; give images [n, ...] and what each is added to");
  const std::int64_t images = x.shape()[0], each = x.count() / images;
  check(s.count() == each && s.dtype() == parameter_dtype(x.dtype()), "[add_to_each] each image of ", x.shape(),
        " has ", each, " values, what is to be added ", to_string(s.dtype()), " ", s.shape(),
        "; give as many: the network may want another --image-size");
  check_device("add_to_each", x, s);
  const Tensor summand = filter_like(x, s);
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).spatial.add({}, {1, images, each}, x.raw(), summand.raw(), y.raw());

  if (Tape* tape = recording({&x, &s})) {
    y.require_grad();
    tape->record("add_to_each",
                 [images, each, shape = s.shape(), slot_y = y.slot(), slot_x = x.slot(), slot_s = s.slot()] {
                   const Tensor dy = take_grad(*slot_y);
                   if (!dy) return;
                   if (slot_s) accumulate(*slot_s, bias_gradient(dy.reshaped({images, each})).reshaped(shape));
                   if (slot_x) accumulate(*slot_x, dy);
                 });
  }
  return y;
}

}  // namespace retort
