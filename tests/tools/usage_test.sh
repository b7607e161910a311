#!/usr/bin/env bash
# Exit status and the one line that an error is: 2 for wrong usage, 1 for data and files, 0 for help.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

expect 0 --version
[[ $(cat stdout) == "retort "[0-9]* && ! -s stderr ]] || fail "--version"
cp stdout version
expect 0 bench conv --version
cmp -s stdout version || fail "a command has another version than the program"
rm version
expect 0 --help
grep -q distill stdout && [[ ! -s stderr ]] || fail "--help"
for command in train import logits combine distill sweep specialists bias graph eval predict summary forward grad verify bundle watch page export bench demo help; do
  expect 0 $command --help
  grep -q -- --help stdout || fail "$command --help"
done
expect 2
grep -q Subcommands stdout && [[ $(wc -l <stderr) == 1 ]] || fail "retort alone shows its commands"

expect_error 2 "foo: unknown argument" foo
expect_error 2 "--bogus: unknown argument" train --bogus
expect_error 2 "--model is required" train --data . --out m.safetensors
expect_error 2 "--threads: 0 is not allowed" summary --model resnet20 --threads 0
expect_error 2 "--threads: -2 is not allowed" summary --model resnet20 --threads -2
expect_error 2 "--threads: 'two' is not allowed" summary --model resnet20 --threads two
expect_error 2 "--seed: -1 is not allowed" summary --model resnet20 --seed -1
expect_error 2 "--device" summary --model resnet20 --device tpu
expect_error 2 "--model: " summary --model
expect_error 2 "--image-size: 0 is not allowed" summary --model resnet20 --image-size 0
expect_error 2 "--image-size: 32769 is not allowed" summary --model resnet20 --image-size 32769
expect_error 2 "--split" eval --model m --data . --split both
expect_error 2 "--limit: 0 is not allowed" eval --model m --data . --limit 0
expect_error 2 "--temperature: 0 is not allowed" eval --model m --data . --temperature 0
expect_error 2 "--val-split: 'much' is not allowed; give a number in [0, 1)" eval --model m --data . --val-split much
expect_error 2 "IMAGE: give image files" predict --model m
expect_error 2 "IMAGE: give image files" predict --model m --data . image.png
expect_error 2 "--top: 0 is not allowed" predict --model m --top 0 image.png
expect_error 2 "--labels: missing" grad --model m --input x.npy --out g.safetensors
expect_error 2 "--lambda: 2 is not allowed" grad --model m --input x.npy --labels y.npy --lambda 2 --out g.safetensors
expect_error 2 "--mode" grad --model m --input x.npy --labels y.npy --mode test --out g.safetensors
expect_error 2 "--dropout: 1 is not allowed" grad --model m --input x.npy --labels y.npy --dropout 1 --out g.safetensors
expect_error 2 "--backend: 'tpu' is not known; give cpu, reference, cuda" bench gemm --backend tpu
expect_error 2 "--precision: bf16 needs another backend; reference has fp32 alone" bench step --model resnet20 \
  --backend reference --precision bf16
expect_error 2 "--precision: tf32 needs another backend; cpu has fp32 and bf16" bench gemm --backend cpu --precision tf32
expect_error 2 "--precision" bench conv --precision fp8
if ! command -v nvidia-smi >/dev/null; then
  for backend in cuda cuda_tf32 cublas cuda:conv2d.1_naive; do
    expect_error 2 "--backend: $backend: " bench gemm --backend cpu --backend $backend
  done
fi
expect_error 2 "--net: 'resnet51' is no architecture" bench conv --net resnet51
expect_error 2 "--model: 'resnet51' is no architecture" bench step --model resnet51
expect_error 2 "--temperature: 0 is not allowed" bench loss --temperature 0
expect_error 2 "--temperature: 0 is not allowed" bench softmax --temperature 0
expect_error 2 "--temperature: 0 is not allowed" grad --model m --input x.npy --labels y.npy --temperature 0 --out g.safetensors
expect_error 2 "--r: a filter" bench conv --h 2 --r 7 --pad 0
expect_error 2 "retort bench" bench
expect_error 2 "extra: unknown argument" summary --model resnet20 extra

expect_error 1 "resnet99: neither a model file nor an architecture" summary --model resnet99
expect_error 1 "missing.png: no such file" predict --model m missing.png
expect_error 1 "/nowhere" eval --model resnet20 --data /nowhere --json
expect_error 1 "missing.npy" forward --model m --input missing.npy --out logits.npy
expect_error 1 "--config: missing.toml: cannot read" summary --model resnet20 --config missing.toml
expect_error 1 "check the path and its permissions" eval --model m --data "$(printf 'x%.0s' {1..5000})"
[[ -z $(ls | grep -vE '^std(out|err)$') ]] || fail "left behind: $(ls)"

# Output that cannot be written is a failure, in both forms.
if [[ -w /dev/full ]]; then
  for form in "" --json; do
    status=0
    "$RETORT" summary --model mlp: $form >/dev/full 2>stderr || status=$?
    [[ $status == 1 ]] && grep -q "^retort: stdout: cannot write" stderr || fail "a full disk behind stdout ($form)"
  done
fi

# No more threads are started than there are cores. (A program with sanitizers needs more memory than the limit.)
if (ulimit -v 2000000 && "$RETORT" --version) >/dev/null 2>&1; then
  (ulimit -v 2000000 && expect 0 summary --model mlp: --threads 1000)
fi

# So is a pipe that nobody reads any more, but in silence, and nothing is left behind.
mkdir temporary && export TMPDIR=$PWD/temporary
for command in "--help" "summary --model resnet20 --json" "bench data --images 1 --image-size 8 --repeats 1 --quiet"; do
  status=0
  exec 3> >(:) && wait $!
  "$RETORT" $command >&3 2>stderr || status=$?
  [[ $status == 1 && ! -s stderr ]] || fail "a closed pipe behind retort $command: status $status"
  [[ -z $(ls temporary) ]] || fail "a closed pipe leaves $(ls temporary)"
done
unset TMPDIR

# Of a flag given twice the last counts.
expect 0 summary --model nonsense --model mlp:7 --image-size 9 --image-size 4 --json
expect_json image_size 4
