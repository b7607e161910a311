#!/usr/bin/env bash
# tools/gdb/retort.py prints a tensor, a shape and a tape. PROGRAM: tests/gdb/printers.cpp, compiled with -g.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command -v gdb >/dev/null || { echo "skipped: gdb is not installed"; exit 77; }

out=$(gdb -q -batch -nx -ex "source $root/tools/gdb/retort.py" -ex 'break look' -ex run \
  -ex 'print x' -ex 'print shape' -ex 'print tape' "$PROGRAM" 2>&1) || true
if ! grep -q 'Breakpoint 1, look' <<<"$out" || grep -q 'without Python support' <<<"$out"; then
  echo "skipped: gdb does not stop a program here, or knows no Python: $(head -3 <<<"$out")"
  exit 77
fi
for line in 'f32 [1, 3] on cpu: 0.5 1 -2' '[1, 3]' 'tape of 3: 0 scale, 1 add, 2 relu'; do
  grep -qF "= $line" <<<"$out" || grep -qF ": $line" <<<"$out" || { echo "FAILED: gdb does not print '$line':"; echo "$out"; exit 1; }
done
