// y = op(a) op(b) of each head.  da = dy op(b)^T, or its transpose op(b) dy^T where a is transposed;  db likewise from
// the left.
#include "engine/ops/matmul.h"

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {
namespace {

/// Matrices [rows, columns] of n images and some heads, as a tensor holds them.
struct Stored {
  std::int64_t n = 0, heads = 0, rows = 0, columns = 0;
  Heads layout = Heads::apart;

  Shape shape() const {
    return layout == Heads::apart ? Shape{n, heads, rows, columns} : Shape{n, rows, heads * columns};
  }
  MatrixPlace place() const {
    return layout == Heads::apart ? MatrixPlace{heads * rows * columns, rows * columns, columns}
                                  : MatrixPlace{rows * heads * columns, columns, heads * columns};
  }
};

Stored stored(const char* name, const Tensor& x, std::int64_t heads, Heads layout) {
  const bool apart = layout == Heads::apart;
  const Shape& in = x.shape();
  const bool fits =
      x && heads >= 1 && x.count() > 0 && in.rank() == (apart ? 4 : 3) && (apart ? in[1] == heads : in[2] % heads == 0);
  check(fits, "[matmul] ", name, " is ", x ? to_string(in) : "empty", "; give ", heads, " heads, ",
        apart ? "[n, heads, rows, columns]" : "[n, rows, heads * columns]");
  return apart ? Stored{in[0], heads, in[2], in[3], layout} : Stored{in[0], heads, in[1], in[2] / heads, layout};
}

struct Side {
  const Tensor& tensor;
  const Stored& stored;
  bool transpose = false;
};

/// op(a) op(b), stored as y says.
Tensor product(const Side& a, const Side& b, const Stored& y) {
  const MatmulGeometry g{.outer = y.n,
                         .inner = y.heads,
                         .m = y.rows,
                         .n = y.columns,
                         .k = a.transpose ? a.stored.rows : a.stored.columns,
                         .transpose_a = a.transpose,
                         .transpose_b = b.transpose,
                         .a = a.stored.place(),
                         .b = b.stored.place(),
                         .c = y.place()};
  Tensor out = Tensor::empty_like(a.tensor, y.shape());
  const MatmulKernels& kernel = kernels(a.tensor).matmul;
  const Workspace workspace(kernel.workspace_bytes(g), a.tensor.device());
  kernel.run({}, g, a.tensor.raw(), b.tensor.raw(), out.raw(), workspace.data());
  return out;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& o) {
  const Stored left = stored("a", a, o.heads, o.a), right = stored("b", b, o.heads, o.b);
  check_device("matmul", a, b);
  const std::int64_t m = o.transpose_a ? left.columns : left.rows, k = o.transpose_a ? left.rows : left.columns,
                     depth = o.transpose_b ? right.columns : right.rows, n = o.transpose_b ? right.rows : right.columns;
  check(k == depth && left.n == right.n && a.dtype() == b.dtype(), "[matmul] a is ", to_string(a.dtype()), " ",
        a.shape(), ", b ", to_string(b.dtype()), " ", b.shape(), ": ", k, " columns meet ", depth,
        " rows; give operands of one dtype and batch that fit");
  const Stored out{left.n, o.heads, m, n, o.y};
  Tensor y = product({a, left, o.transpose_a}, {b, right, o.transpose_b}, out);

  if (Tape* tape = recording({&a, &b})) {
    y.require_grad();
    tape->record("matmul", [o, left, right, out, slot_y = y.slot(), slot_a = a.slot(), slot_b = b.slot(),
                            a = b.slot() ? a.detached() : Tensor(), b = a.slot() ? b.detached() : Tensor()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      if (slot_a)
        accumulate(*slot_a, o.transpose_a ? product({b, right, o.transpose_b}, {dy, out, true}, left)
                                          : product({dy, out, false}, {b, right, !o.transpose_b}, left));
      if (slot_b)
        accumulate(*slot_b, o.transpose_b ? product({dy, out, true}, {a, left, o.transpose_a}, right)
                                          : product({a, left, !o.transpose_a}, {dy, out, false}, right));
    });
  }
  return y;
}

}  // namespace retort
