#!/usr/bin/env bash
# The shape of bench's reports, and relations between their numbers. No time is asserted.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_report() {
  expect_json_alone
  local results value
  results=$(values name | wc -l)
  for key in seconds flops bytes gflops gbps roofline_share; do  # of every result, not of the first alone
    [[ $(values $key | wc -l) == "$results" ]] || fail "not a \"$key\" a result"
    for value in $(values $key); do holds "$value" '>' 0 || fail "\"$key\" is $value"; done
  done
  for key in name backend precision shape seconds spread flops bytes gflops gbps roofline_share cpu threads simd peak_gflops bandwidth_gbps; do
    [[ -n $(json $key) ]] || fail "no \"$key\""
  done
  for key in peak_gflops bandwidth_gbps; do
    holds "$(json $key)" '>' 0 || fail "\"$key\" is $(json $key)"
  done
  # gflops = flops / seconds / 1e9
  holds "$(awk "BEGIN { e = $(json gflops) * $(json seconds) * 1e9 / $(json flops) - 1; print e < 0 ? -e : e }")" '<' 1e-4 ||
    fail "gflops is not flops / seconds"
}

expect 0 bench gemm --m 64 --n 48 --k 32 --repeats 3 --backend cpu --backend reference --threads 2 --json
check_report
expect_json threads 2
holds "$(json flops)" == 196608 || fail "2 m n k"
holds "$(json bytes)" == 26624 || fail "4 (m k + k n + m n)"
[[ $(grep -o '"backend":"[a-z]*"' stdout | tr '\n' ' ') == '"backend":"cpu" "backend":"reference" ' ]] || fail "two backends"

expect 0 bench conv --n 2 --c 4 --h 8 --w 6 --k 8 --r 3 --s 1 --stride 2 --pad 1 --pass wgrad --repeats 2 --json
check_report
expect_json name conv.wgrad
expect_json shape "n2 c4 h8 w6 k8 r3 s1 stride2 pad1"
holds "$(json flops)" == 6144 || fail "2 n p q k r s c, p = 4, q = 4"
expect 0 bench conv --n 1 --c 4 --h 8 --k 8 --r 1 --pad 0 --repeats 2 --json
[[ $(grep -o '"name":"conv.[a-z]*"' stdout | wc -l) == 3 ]] || fail "three passes"
expect 0 bench conv --n 1 --c 8 --h 6 --k 16 --groups 4 --pad 1 --pass fprop --repeats 2 --json
expect_json shape "n1 c8 h6 w6 k16 r3 s3 stride1 pad1 groups4"
holds "$(json flops)" == 20736 || fail "2 n p q k r s c over the groups"

# ResNet-20 in the CIFAR form has 21 convolutions (two of them shortcuts), the first without a gradient of its input.
expect 0 bench conv --net resnet20 --n 1 --repeats 1 --json
check_report
counts=$(sed 's/"totals".*//' stdout | grep -oE '"name":"conv\.[a-z]+"|"count":[0-9]+' |
  awk -F'[:"]+' '$2 == "name" { name = $3 } $2 == "count" { sum[name] += $3 }
                 END { print sum["conv.fprop"], sum["conv.dgrad"], sum["conv.wgrad"] }')
[[ $counts == "21 20 21" ]] || fail "convolutions a pass: $counts"
[[ $(sed 's/.*"totals"//' stdout | grep -o '"shape":"all layers"' | wc -l) == 3 ]] || fail "a total for each pass"

expect 0 bench loss --rows 4 --classes 10 --temperature 2 --repeats 2 --json
check_report
grep -q '"name":"loss.distillation"' stdout && grep -q '"name":"loss.cross_entropy"' stdout || fail "two losses"
expect 0 bench loss --rows 4 --classes 10 --loss dkd --repeats 2 --json
check_report
expect_json name loss.dkd
! grep -q loss.cross_entropy stdout || fail "one loss"
expect_error 2 "--loss: 'l1' is not known" bench loss --loss l1

# The shapes of the tests.
for subject in conv gemm softmax loss; do
  expect 0 bench $subject --cases --repeats 1 --json
  check_report
  (($(values shape | sort -u | wc -l) > 10)) || fail "bench $subject --cases: the tests have more shapes"
done
expect_error 2 "--net" bench conv --cases --net resnet20
expect_error 2 "--groups: 3 groups do not divide --c 8 and --k 16" bench conv --c 8 --k 16 --groups 3

# Photos: stages in photos a second, without arithmetic to speak of.
check_stages() { # IMAGES NAME...
  local images=$1
  shift
  expect_json_alone
  [[ $(grep -oE '"name":"[^"]*"' stdout | cut -d'"' -f4 | tr '\n' ';') == "$(printf '%s;' "$@")" ]] || fail "stages"
  for key in seconds bytes gbps images_per_second cores; do holds "$(json $key)" '>' 0 || fail "\"$key\" is $(json $key)"; done
  grep -qE '"(flops|gflops|roofline_share|peak_bytes)"' stdout && fail "photos have no flops"
  holds "$(awk "BEGIN { e = $(json images_per_second) * $(json seconds) / $images - 1; print e < 0 ? -e : e }")" '<' 1e-4 ||
    fail "images_per_second is not images / seconds"
}
stages=(data.decode data.resize "data.resize crop,flip" data.decode+resize "data.decode+resize crop,flip" "data.loader crop,flip")
mkdir tmp
TMPDIR=$PWD/tmp expect 0 bench data --images 3 --image-size 32 --repeats 1 --json
check_stages 3 "${stages[@]}" "data.loader crop,flip --cache"
grep -qE "^drew 3 photos of 500 x 375 pixels, [0-9]+ KB each" stderr || fail "what was drawn is not said"
mkdir -p photos/a photos/b
for i in 1 2 3; do ppm 9 $i 2 3 >photos/a/$i.ppm && ppm 7 $i 2 3 >photos/b/$i.ppm; done
TMPDIR=$PWD/tmp expect 0 bench data --data photos --images 4 --image-size 8 --repeats 1 --json
check_stages 4 "${stages[@]}"
TMPDIR=$PWD/tmp expect 0 bench data --images 1 --repeats 1
grep -qE '^data.decode +cpu +1 photos to 224 .* - .* images/s' stdout || fail "the table of stages"
[[ -z $(ls tmp) ]] || fail "left behind: $(ls tmp)"
expect_error 1 "nowhere" bench data --data nowhere

flops=()
for mode in train infer; do
  expect 0 bench step --model resnet20 --batch-size 2 --mode $mode --repeats 2 --json
  check_report
  expect_json name step.$mode
  holds "$(json images_per_second)" '>' 0 || fail "images_per_second"
  holds "$(json process)" '>' "$(json arena)" || fail "peak_bytes: process $(json process), arena $(json arena)"
  flops[${#flops[@]}]=$(json flops)
done
# Training needs three times the products of inference, less the first layer's data gradient.
holds "${flops[0]}" '<' "$((3 * ${flops[1]%.*}))" && holds "${flops[0]}" '>' "$((2 * ${flops[1]%.*}))" || fail "flops: ${flops[*]}"

# bf16 on the CPU: every subject, elements of two bytes.
expect 0 bench gemm --m 64 --n 48 --k 32 --precision bf16 --repeats 1 --json
check_report
expect_json precision bf16
holds "$(json bytes)" == 13312 || fail "2 (m k + k n + m n)"
holds "$(json peak_gflops_bf16)" '>' 0 || fail "peak_gflops_bf16"
expect 0 bench conv --n 2 --c 4 --h 8 --k 8 --precision bf16 --repeats 1 --json
expect 0 bench softmax --rows 4 --classes 10 --precision bf16 --repeats 1 --json
expect 0 bench loss --rows 4 --classes 10 --precision bf16 --repeats 1 --json
expect 0 bench step --model resnet20 --batch-size 2 --precision bf16 --repeats 1 --json
check_report

expect 0 bench gemm --m 8 --n 8 --k 8 --repeats 1
grep -q 'GFLOP/s' stdout && grep -qE '^gemm +cpu +m8 n8 k8' stdout || fail "the table"

# The kernels for CUDA, in the simulator: every subject, every precision, beside the CPU, and steps of the ladder.
"$RETORT" bench gemm --m 2 --n 2 --k 2 --repeats 1 --backend simt >stdout 2>stderr || {
  grep -q "is not in this build" stderr || fail "--backend simt"
  echo "not tested, the simulator: $(cat stderr)"
  exit 0
}
small=(--repeats 1 --json)
backends=(--backend cpu --backend simt --backend simt_tf32)
expect 0 bench gemm --m 5 --n 8 --k 9 "${backends[@]}" "${small[@]}"
check_report
[[ $(grep -oE '"precision":"[a-z0-9]*"' stdout | tr '\n' ' ') == '"precision":"fp32" "precision":"fp32" "precision":"tf32" ' ]] ||
  fail "precisions"
expect 0 bench gemm --m 4 --n 8 --k 8 --backend simt --precision bf16 "${small[@]}"
check_report
holds "$(json bytes)" == 256 || fail "2 (m k + k n + m n)"
expect 0 bench conv --n 1 --c 3 --h 5 --k 4 --r 3 --pad 1 "${backends[@]}" "${small[@]}"
check_report
expect 0 bench conv --n 1 --c 8 --h 4 --k 8 --r 1 --pad 0 --backend simt --precision bf16 "${small[@]}"
check_report
expect 0 bench softmax --rows 3 --classes 10 --temperature 2 "${backends[@]}" "${small[@]}"
check_report
all=$(losses)
for loss in $all; do
  expect 0 bench loss --rows 3 --classes 10 --loss $loss --backend cpu --backend simt "${small[@]}"
  check_report
done
expect 0 bench step --model mlp:4 --batch-size 2 --backend cpu --backend simt --repeats 1 --json
check_report

# Right or wrong, by the double reference; the counters, beside a time that is called modelled.
expect 0 bench gemm --m 64 --n 64 --k 32 --backend simt --precision bf16 --counters "${small[@]}"
expect_json_alone
expect_json right true
expect_json kernel conv2d_fprop  # a product is a convolution of 1 x 1
# 2 m n k, and C once.
for key in tensor_flops_16:262144 launches:1 unique_store_bytes:8192; do
  holds "$(json ${key%:*})" == "${key#*:}" || fail "${key%:*} is $(json ${key%:*})"
done
for chip in A100 H100 H200; do grep -q "\"$chip\":{\"seconds\":" stdout || fail "no modelled time of $chip"; done
expect 0 bench softmax --rows 3 --classes 64 --backend simt --repeats 1 --counters
grep -qE '^softmax.forward +simt .* right$' stdout || fail "right or wrong"
grep -q "times are modelled" stdout && grep -qE "^    modelled: A100 [0-9.]+ us \(" stdout || fail "the counters as text"
for subject in conv loss; do
  expect 0 bench $subject --backend simt --repeats 1 --json $([[ $subject == conv ]] && echo --n 1 --h 5 --c 3 --k 4 || echo --rows 3 --classes 10)
  ! grep -qE '"right":false|"counters"' stdout || fail "bench $subject in the simulator"
done
expect_error 2 "--counters: kernels are counted in the simulator alone" bench gemm --m 8 --n 8 --k 8 --backend cpu --counters
expect_error 2 "--counters: kernels are counted in the simulator alone" bench step --model mlp:4 --backend cpu --counters x.json
expect 0 bench step --model mlp:4 --batch-size 2 --backend simt --repeats 1 --counters step.json
grep -q '"kernel": "sgd"' step.json && grep -q '"modelled"' step.json || fail "the counters of a step"
# A batch that is too large to be simulated: some blocks of each launch stand for all.
sampled=(bench step --model resnet8 --image-size 32 --batch-size 4096 --precision bf16 --backend simt)
expect 0 "${sampled[@]}" --sample 1 --compute-capability 90 --counters sample.json
grep -q '"kernel": "hopper_wgrad"' sample.json && grep -q '"unique_store_bytes": 134217728' sample.json || fail "the counters of a sample"
expect_error 2 "--sample: is for counting; give --counters FILE.json" "${sampled[@]}" --sample 1
expect_error 2 "--sample: counts for one backend; give --backend simt alone" "${sampled[@]}" --backend cpu --sample 1 --counters x.json
expect_error 2 "--counters: kernels are counted in the simulator alone" bench step --model mlp:4 --backend cpu --sample 1 --counters x.json
expect_error 2 "--compute-capability: is of the device that --sample counts for; give --sample N" "${sampled[@]}" --compute-capability 90
expect 0 bench step --model mlp:4 --batch-size 2 --backend simt --precision bf16 --mode infer --repeats 1 --json
check_report

backends_known=$("$RETORT" bench conv --backend none 2>&1 || true)
[[ $backends_known == *"a step of the ladder"* ]] || {
  echo "not tested, the ladder: it is not in this build"
  exit 0
}
expect 0 bench conv --n 1 --c 3 --h 5 --k 4 --r 3 --pad 1 --pass fprop --backend simt:conv2d.1_naive "${small[@]}"
check_report
expect_json backend simt:conv2d.1_naive
expect_error 2 "--backend: simt:loss.1_composed: a step of the ladder is of kd alone" bench loss --loss dist \
  --backend simt:loss.1_composed
expect_error 2 "--backend: 'simt:conv2d.0_none' is not known" bench conv --backend simt:conv2d.0_none
