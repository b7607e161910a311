#!/usr/bin/env bash
# A .npy of logits alone, without an index: its rows are images in the data's order, or it is refused.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8; do
  ppm 12 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 12 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
expect 0 train --model mlp:4 --data data --image-size 8 --epochs 2 --out teacher.safetensors
# 12 images to train on, 4 for validation, 16 in all; what is named is moved away from its index.
for part in train val; do
  expect 0 logits --model teacher.safetensors --data data --val-split 0.25 --split $part --out store.npy --csv $part.csv
  mv store.npy $part.npy && rm store.json
done
expect 0 logits --model teacher.safetensors --data data --val-split 0 --out store.npy --csv all.csv
mv store.npy all.npy && rm store.json
student=(distill --student mlp:6 --data data --val-split 0.25 --image-size 8 --epochs 2 --batch-size 4)

# Rows of the part, or of all images, teach to the bit what the same rows with names teach.
same() {
  local table=$1 table_val=$2 array=$3 array_val=$4
  expect 0 "${student[@]}" --logits $table --val-logits $table_val --out named.safetensors --log named.jsonl
  expect 0 "${student[@]}" --logits $array --val-logits $array_val --out array.safetensors --log array.jsonl
  cmp -s named.safetensors array.safetensors || fail "$array: other bits than $table"
  grep -q '"val_kl":[0-9]' named.jsonl || fail "$array_val: no val_kl"
  [[ $(grep -oE '"val_kl":[^,]*' named.jsonl) == $(grep -oE '"val_kl":[^,]*' array.jsonl) ]] || fail "$array_val: another val_kl"
}
same train.csv val.csv train.npy val.npy
grep -q "^warning: train.npy: no index names its rows: they are taken for the 12 images used in the data's order; the label" stderr ||
  fail "what is assumed of train.npy"
grep -q "^warning: val.npy: .* the 4 images used " stderr || fail "what is assumed of val.npy"
same all.csv all.csv all.npy all.npy
[[ $(grep -c "^warning: all.npy: .* the 16 images of both parts in the data's order" stderr) == 2 ]] || fail "what is assumed of all.npy"
expect 0 "${student[@]}" --logits all.npy --out x.safetensors --quiet
[[ ! -s stderr ]] || fail "--quiet: a remark"

# --limit takes some of these, whichever they are; --omit-classes takes them from the part's rows.
for rows in train all; do
  expect 0 "${student[@]}" --limit 6 --logits $rows.csv --out named.safetensors
  expect 0 "${student[@]}" --limit 6 --logits $rows.npy --out array.safetensors
  cmp -s named.safetensors array.safetensors || fail "$rows.npy: --limit takes other rows"
done
expect 0 "${student[@]}" --logits train.npy --omit-classes red --out array.safetensors
expect 0 "${student[@]}" --logits train.csv --omit-classes red --out named.safetensors
cmp -s named.safetensors array.safetensors || fail "train.npy: --omit-classes takes other rows"

# The label's share tells an order that is another: first blue, then red, and the reverse.
lead() { for ((i = 0; i < $1; ++i)); do floats $2 $3; done; }
{ lead 6 3 -2; lead 6 -2 3; } | npy '<f4' '(12, 2)' >right.npy
{ lead 6 -2 3; lead 6 3 -2; } | npy '<f4' '(12, 2)' >wrong.npy
expect 0 "${student[@]}" --logits right.npy --out x.safetensors
grep -qF "the highest score in 100.0% of" stderr || fail "the share of right labels"
expect 0 "${student[@]}" --logits wrong.npy --out x.safetensors
grep -qF "the highest score in 0.0% of" stderr || fail "the share of right labels in another order"

# eval, sweep, and images without labels.
expect 0 eval --model teacher.safetensors --data data --val-split 0.25 --logits val.npy --json
holds "$(json kl)" '<' 1e-6 || fail "eval: the teacher's own logits differ by $(json kl)"
expect 0 eval --model teacher.safetensors --data data --val-split 0.25 --split train --logits all.npy --json
holds "$(json kl)" '<' 1e-6 || fail "eval: the teacher's own logits differ by $(json kl)"
expect 0 sweep "${student[@]:1}" --logits all.npy --temperature 2 --lambda 0.1 --seeds 1 --hold-out 0.2 --out sweep
mkdir pile && for i in 1 2 3 4; do cp data/red/$i.ppm pile/r$i.ppm; cp data/blue/$i.ppm pile/b$i.ppm; done
{ lead 4 3 -2; lead 4 -2 3; } | npy '<f4' '(8, 2)' >pile.npy
expect 0 distill --student mlp: --data pile --image-size 8 --epochs 1 --logits pile.npy --out pile.safetensors
grep -q "^warning: pile.npy: .* the 8 images of both parts in the data's order$" stderr || fail "what is assumed of pile.npy"
expect 0 predict --model pile.safetensors data/red/1.ppm --json
grep -qE '"class":"[01]"' stdout || fail "classes without names are not numbers"

# Refused: as many rows as no set of images, other columns, an array of another kind, one array for two parts.
refuse() { expect_error 1 "$1" "${student[@]}" --out y.safetensors --quiet "${@:2}"; }
lead 13 1 2 | npy '<f4' '(13, 2)' >rows.npy
refuse "rows.npy: 13 rows and no index that names them, expected one for each of 12 images used or 16 images of both parts, in the data's order; save so many, or a CSV with names" \
  --logits rows.npy
refuse "6 images used or 12 images of the training part or 16 images of both parts" --logits rows.npy --limit 6
refuse "4 images used or 16 images of both parts" --logits train.npy --val-logits rows.npy
for ((i = 0; i < 12; ++i)); do floats 1 2 3; done | npy '<f4' '(12, 3)' >columns.npy
refuse "columns.npy: 3 logits a row, but 2 classes" --logits columns.npy
bytes 8 0 1 0 1 0 1 0 1 0 1 0 1 | npy '<i8' '(12,)' >labels.npy
refuse "labels.npy: dtype '<i8', expected scores as float16, float32 or float64" --logits labels.npy
lead 8 1 2 | npy '<f4' '(8, 2)' >half.npy
refuse "half.npy: its rows can't be those of the training part and those of the validation part" \
  --val-split 0.5 --logits half.npy --val-logits half.npy
expect_error 1 "all.json: missing" combine all.npy train.npy --out y.npy --quiet
# A folder with parts of its own has no order that goes through both.
mkdir parts && cp -r data parts/train && cp -r data parts/val && rm parts/val/*/[3-8].ppm
lead 20 1 2 | npy '<f4' '(20, 2)' >rows.npy
expect_error 1 "expected one for each of 16 images used, in" distill --student mlp: --data parts --image-size 8 --logits rows.npy \
  --out y.safetensors --quiet
expect_error 1 "expected one for each of 4 images used, in" distill --student mlp: --data parts --image-size 8 --logits all.npy \
  --val-logits all.npy --out y.safetensors --quiet
[[ ! -e y.safetensors && ! -e y.npy ]] || fail "a failed command left a file"
