#!/usr/bin/env bash
# docs/adding-an-op.md lists where ReLU stands. The list and the tree must be the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

listed=$(sed -n '/<!-- places of relu -->/,/^Then a network/p' docs/adding-an-op.md | sed -nE 's/^[0-9]+\. `([^`]+)`.*/\1/p' | sort)
# Where its kernels are named, its declaration, and its test.
found=$({ grep -rlE 'relu_forward|Tensor relu\(' --include='*.h' --include='*.cpp' --include='*.cu' kernels engine models tools tests/cases
  ls tests/engine/relu_test.cpp; } | sort)
if [[ $listed != "$found" ]]; then
  echo "docs/adding-an-op.md lists (<) other places than the tree has (>):"
  diff <(echo "$listed") <(echo "$found")
  exit 1
fi
