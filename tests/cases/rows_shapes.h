// The shapes of rows of logits that softmax and the losses are tested with.
#pragma once

#include "kernels/softmax.h"
#include "tests/cases/work.h"

namespace retort::test {

struct RowsShape {
  Rows rows;
  Work work = Work::usual;
};

/// Around every change of method: lanes of a vector and of a warp, wide accesses, what a row of registers and a block
/// hold; enough rows for several tasks.
inline constexpr RowsShape kRowsShapes[] = {{{1, 1}, Work::modest},
                                            {{1, 2}},
                                            {{3, 2}, Work::modest},
                                            {{3, 3}},
                                            {{2, 7}},
                                            {{5, 8}},
                                            {{4, 9}},
                                            {{9, 10}, Work::little},
                                            {{3, 17}},
                                            {{9, 31}},
                                            {{5, 32}, Work::modest},
                                            {{4, 33}, Work::modest},
                                            {{70, 100}},
                                            {{130, 7}, Work::modest},
                                            {{9, 256}},
                                            {{2, 257}, Work::little},
                                            {{3, 1000}, Work::modest},
                                            {{11, 1000}},
                                            {{3, 1023}},
                                            {{3, 1024}},
                                            {{2, 1025}, Work::modest},
                                            {{3, 3000}}};

}  // namespace retort::test
