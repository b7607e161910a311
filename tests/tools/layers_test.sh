#!/usr/bin/env bash
# Dependencies point one way: tools -> models -> engine -> kernels, and CUDA stays in kernels/cuda and kernels/vendor.
# CMake's targets share one include root, so what a folder includes is checked here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0

# Reports the includes in folder $1 that match $2 but not $3.
forbid() {
  local found
  found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$2" "$1" --include='*.h' --include='*.cpp' \
            --include='*.cu' --include='*.cuh' | grep -vE "${3:-^$}" || true)
  if [[ -n $found ]]; then
    printf 'layers_test: %s must not include these:\n%s\n' "$1" "$found"
    failed=1
  fi
}

forbid kernels '"(engine|models|tools|tests)/'
forbid engine '"(models|tools|tests)/'
forbid models '"(tools|tests)/'
# The benchmarks measure the shapes of the tests, and judge by their bounds.
forbid tools '"tests/' '^tools/bench/.*"tests/(case\.h|cases/[a-z0-9_]*_(shapes|bounds)\.h)"'
for folder in kernels engine models tools; do
  forbid "$folder" '[<"](cuda|cublas|cudnn|curand|nvrtc|nccl|cooperative_groups|mma\.h)' '^kernels/(cuda|vendor)/'
done

# The checks above see nothing if the tree moved.
for folder in kernels engine models tools; do
  if [[ -z $(grep -rl '#include' "$folder" --include='*.h') ]]; then
    echo "layers_test: no header found in $folder"
    failed=1
  fi
done
exit $failed
