#!/usr/bin/env bash
# --backend and --kernel: a real run with kernels in place of the device's own.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
train=(train --data data --val-split 0.25 --image-size 8 --batch-size 4 --epochs 1 --quiet)
cpu=("${train[@]}" --model mlp:16 --device cpu)
expect 0 "${cpu[@]}" --out own.safetensors --log own.jsonl
expect 0 "${cpu[@]}" --backend cpu --out same.safetensors
cmp -s <(weights own.safetensors) <(weights same.safetensors) || fail "--backend cpu on the CPU is another run"
near() { holds "$(distance "$(last train_loss "$1")" "$(last train_loss "$2")")" '<' 1e-4 || fail "$1 is far from $2"; }
expect 0 "${cpu[@]}" --kernel gemm.run=reference --out one.safetensors --log one.jsonl
other_weights own.safetensors one.safetensors "--kernel gemm.run=reference does nothing"
near own.jsonl one.jsonl
expect 0 "${cpu[@]}" --backend reference --out all.safetensors --log all.jsonl
near own.jsonl all.jsonl
# Other kernels round otherwise: a run does not go on with them.
expect_error 1 "--kernel" "${cpu[@]}" --resume --out one.safetensors
expect_error 1 "--backend" "${cpu[@]}" --resume --out all.safetensors
expect 0 distill --student mlp:4 --teacher own.safetensors --data data --val-split 0.25 --image-size 8 --epochs 1 --device cpu --quiet \
  --kernel loss.distillation=reference --kernel gemm.run=reference --out taught.safetensors

refused() { expect_error 2 "$1" "${@:2}" --out no.safetensors; }
refused "--kernel: no other kernel is there for 'relu_forward'; give gemm.run, conv2d.fprop" "${cpu[@]}" --kernel relu_forward=reference
refused "--kernel: 'reference' names no kernel; give ENTRY=NAME" "${cpu[@]}" --kernel reference
refused "--kernel: gemm.run=cpu: cpu has the kernel there that runs anyway" "${cpu[@]}" --kernel gemm.run=cpu
refused "--backend: 'mine' is not known" "${cpu[@]}" --backend mine
refused "--kernel: 'mine' is not known" "${cpu[@]}" --kernel gemm.run=mine
refused "--precision: bf16 needs another backend; reference has fp32 alone" "${cpu[@]}" --precision bf16 --kernel gemm.run=reference
[[ ! -e no.safetensors ]] || fail "a refused run wrote a model"

expect 0 bench step --model mlp:4 --batch-size 2 --device cpu --repeats 1 --kernel gemm.run=reference --json
[[ $(values backend) == $'cpu\ncpu+gemm.run=reference' ]] || fail "bench step measured $(values backend)"

"$RETORT" train --device simt --data data --model mlp:1 --out no.safetensors >stdout 2>stderr || true
if grep -q "use --device cpu" stderr; then
  echo "skipped in part: $(cat stderr)"
  exit 0
fi
simt=("${train[@]}" --model resnet8 --limit 4 --device simt)
expect 0 "${simt[@]}" --out simulated.safetensors --log simulated.jsonl --counters own.json
expect 0 "${simt[@]}" --kernel conv2d.fprop=conv2d.1_naive --out naive.safetensors --log naive.jsonl --counters naive.json
kernels_of() { grep -oE '"kernel": "[^"]*"' "$1" | sort -u; }
grep -q "naive" <(kernels_of naive.json) || fail "the naive kernel was not launched: $(kernels_of naive.json)"
! grep -q "naive" <(kernels_of own.json) || fail "the naive kernel is the device's own"
near simulated.jsonl naive.jsonl
refused "--kernel: conv2d.dgrad=conv2d.1_naive: simt:conv2d.1_naive has the kernel there that runs anyway" "${simt[@]}" --kernel conv2d.dgrad=conv2d.1_naive
refused "simt:conv2d.1_naive is a kernel of f32, and the run computes in bf16" "${simt[@]}" --precision bf16 --kernel conv2d.fprop=conv2d.1_naive
refused "--backend: simt computes on simt, and the run on cpu" "${cpu[@]}" --backend simt
refused "--kernel: cpu computes on cpu, and the run on simt" "${simt[@]}" --kernel gemm.run=cpu
