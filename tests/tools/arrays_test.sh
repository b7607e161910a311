#!/usr/bin/env bash
# forward and grad on arrays whose results are exact: a linear map with small integer weights.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# weight [2, 8] counts pixels in c, h, w order; bias [2].
header='{"layers.0.weight":{"dtype":"F32","shape":[2,8],"data_offsets":[0,64]},"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[64,72]}}'
floats 1 2 3 4 5 6 7 8 -1 -2 -3 -4 -5 -6 -7 -8 100 -100 | safetensors "$header" >weights.safetensors
net=(--model mlp: --weights weights.safetensors)

# Eight images of 2 channels and 2 x 2 pixels, each with one pixel set: the logits are the columns of the weight.
identity=()
for ((i = 0; i < 64; ++i)); do identity+=($((i % 9 == 0))); done
floats "${identity[@]}" | npy '<f4' '(8, 2, 2, 2)' >x.npy
expect 0 forward "${net[@]}" --input x.npy --out logits.npy --json --quiet
expect_json_alone
[[ ! -s stderr ]] || fail "--quiet is not quiet"
found=$(tail_floats logits.npy 64)
[[ $found == "101 -101 102 -102 103 -103 104 -104 105 -105 106 -106 107 -107 108 -108" ]] || fail "logits are $found"
# More images than one batch give the same rows.
floats $(for ((i = 0; i < 40; ++i)); do echo "0 0 0 0 0 0 0 $i"; done) | npy '<f4' '(40, 2, 2, 2)' >many.npy
expect 0 forward "${net[@]}" --input many.npy --out many_logits.npy
[[ $(tail_floats many_logits.npy 8) == "412 -412" ]] || fail "the last of 40 rows is $(tail_floats many_logits.npy 8)"

# Zero weights give even odds: loss = log 2, d loss / d bias = (softmax - onehot) averaged, d weight = that times x.
head -c 72 /dev/zero | safetensors "$header" >zeros.safetensors
zero=(--model mlp: --weights zeros.safetensors)
floats $(printf '2 %.0s' {1..16}) | npy '<f4' '(2, 2, 2, 2)' >twos.npy
bytes 8 0 0 | npy '<i8' '(2,)' >y.npy
for mode in train eval; do
  expect 0 grad "${zero[@]}" --input twos.npy --labels y.npy --mode $mode --out grads.safetensors --json
  expect_json_alone
  [[ $(json loss) == 0.69314718* && $(json hard_loss) == "$(json loss)" ]] || fail "the loss is $(json loss)"
  holds "$(json soft_loss)" == 0 || fail "the soft loss is $(json soft_loss)"
  grep -q 'layers.0.weight.*F32.*\[2,8\]' grads.safetensors || fail "the weight's gradient has another shape"
  [[ $(tail_floats grads.safetensors 72 | tr ' ' '\n' | sort -n | uniq -c | tr -s ' \n' ' ') == " 8 -1 1 -0.5 1 0.5 8 1 " ]] ||
    fail "gradients are $(tail_floats grads.safetensors 72)"
done

# With a teacher as undecided as the student, the soft loss and its gradient vanish, and lambda scales the hard ones.
floats 7 7 7 7 | npy '<f4' '(2, 2)' >v.npy
expect 0 grad "${zero[@]}" --input twos.npy --labels y.npy --teacher-logits v.npy --lambda 0.5 --temperature 2 \
  --out soft.safetensors --json
[[ $(json loss) == 0.34657359* && $(json hard_loss) == 0.69314718* ]] || fail "the loss is $(json loss)"
holds "$(json soft_loss)" '<' 1e-6 || fail "the soft loss is $(json soft_loss)"
# Under the additive convention the soft loss is CE(p, q) = log 2, with weight 1.
expect 0 grad "${zero[@]}" --input twos.npy --labels y.npy --teacher-logits v.npy --lambda 0.5 --temperature 2 \
  --convention additive --out soft.safetensors --json
[[ $(json loss) == 1.0397207* && $(json soft_loss) == 0.69314718* ]] || fail "the additive loss is $(json loss)"
# Without labels the teacher is the only target.
expect 0 grad "${zero[@]}" --input twos.npy --teacher-logits v.npy --out soft.safetensors --json
holds "$(json loss)" '<' 1e-6 || fail "the loss without labels is $(json loss)"

# What does not fit is named, and nothing is written.
rm -f never.npy never.safetensors
floats 0 0 0 0 | npy '<f4' '(1, 1, 2, 2)' >grey.npy
bytes 8 0 2 | npy '<i8' '(2,)' >range.npy
bytes 8 0 | npy '<i8' '(1,)' >short.npy
floats 0 0 | npy '<f4' '(2,)' >float_labels.npy
head -c 64 /dev/zero | npy '<f8' '(1, 2, 2, 2)' >double.npy
expect_error 1 "double.npy: holds float64 [1, 2, 2, 2]" forward "${net[@]}" --input double.npy --out never.npy
expect_error 1 "logits.npy: holds float32 [8, 2]" forward "${net[@]}" --input logits.npy --out never.npy
expect_error 1 "layers.0.weight: found shape [2, 8]" forward "${net[@]}" --input grey.npy --out never.npy --quiet
expect_error 2 "--weights: goes with --model ARCH" forward --model zeros.safetensors --weights x --input x.npy --out never.npy
expect_error 2 "--weights" forward --model mlp: --input x.npy --out never.npy
grad=(grad "${zero[@]}" --input twos.npy --out never.safetensors)
expect_error 1 "range.npy: label 2 in row 1" "${grad[@]}" --labels range.npy
expect_error 1 "short.npy: holds int64 [1]" "${grad[@]}" --labels short.npy
expect_error 1 "float_labels.npy: holds float32 [2]" "${grad[@]}" --labels float_labels.npy
expect_error 1 "y.npy: holds int64 [2]" "${grad[@]}" --labels y.npy --teacher-logits y.npy
expect_error 1 "/proc/never.npy" forward "${net[@]}" --input x.npy --out /proc/never.npy
[[ ! -e never.npy && ! -e never.safetensors ]] || fail "a failed run left a file"
