#!/usr/bin/env bash
# views: files of the pictures that training draws, whose scores from elsewhere are a full store.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Pictures with something in them: a gradient whose crops differ.
picture() {
  local i x y
  printf 'P6\n16 12\n255\n'
  for ((i = 0; i < 192; ++i)); do
    x=$((i % 16)) y=$((i / 16))
    bytes 1 $((($1 + 9 * x + 3 * y) % 256)) $((($2 + 4 * x + 7 * y) % 256)) $((($3 + 2 * x + 11 * y) % 256))
  done
}
mkdir -p data/blue data/red
for i in 1 2 3 4 5; do
  picture $((100 + 10 * i)) $((20 * i)) 10 >data/red/$i.ppm
  picture 10 $((20 * i)) $((100 + 10 * i)) >"data/blue/n, $i.ppm"
done
part=(--data data --val-split 0.2)
expect 0 train --model mlp:6 "${part[@]}" --image-size 16 --epochs 6 --optimizer sgd --lr 0.1 --out teacher.safetensors
drawn=(--views 3 --augment flip,crop,jitter,erase,randaugment --seed 7)
expect 0 logits --model teacher.safetensors "${part[@]}" "${drawn[@]}" --out store.npy --csv store.csv
expect 0 views "${part[@]}" "${drawn[@]}" --image-size 16 --out drawn --json
expect_json_alone
expect_json pictures 8
[[ $(find drawn -name '*.png' | wc -l) == 24 && -s "drawn/blue/n, 1.ppm.2.png" ]] || fail "the files"
[[ $(head -n 2 drawn/names.csv | tail -n 1) =~ ^\"blue/n,\ [1-5].ppm\",0,\"blue/n,\ [1-5].ppm.0.png\"$ && $(wc -l <drawn/names.csv) == 25 ]] ||
  fail "names.csv"
cp -r drawn again && rm again/names.csv again/views.json
expect 0 views "${part[@]}" "${drawn[@]}" --image-size 16 --threads 1 --out again --quiet
diff -r drawn again || fail "views depend on the threads"

# The teacher's own scores of the files are those of the store, give or take a rounded pixel.
expect 0 logits --model teacher.safetensors --data drawn --val-split 0 --split train --out elsewhere.npy --csv drawn/scores.csv
paste -d, <(tail -n 24 drawn/scores.csv | sed -E 's/^"?([a-z]*)\/[n, ]*([0-9])\.ppm\.([0-9])\.png"?/\3\1\2/' | sort | cut -d, -f2-) \
  <(tail_floats store.npy $((24 * 8)) | tr ' ' '\n' | paste -d, - - | paste -d, <(sed -E 's/^"?([a-z]*)\/[n, ]*([0-9])\.ppm"?,([0-9]),.*/\3\1\2/; 1d' drawn/names.csv) - | sort | cut -d, -f2-) |
  awk -F, '{ for (i = 1; i < 3; ++i) { d = $i - $(i + 2); if (d < 0) d = -d; if (d > worst) worst = d }; if ($1 != before) ++rows; before = $1 }
    END { print worst, NR, rows; exit !(worst < 0.02 && NR == 24 && rows > 12) }' >distances || fail "the files' scores are not the store's: $(cat distances)"

student=(distill --student mlp:5 "${part[@]}" --image-size 8 --epochs 4 --batch-size 4)
expect 0 "${student[@]}" --logits store.npy --log store.jsonl --out store.safetensors
expect 0 "${student[@]}" --logits drawn/scores.csv --log table.jsonl --out table.safetensors
grep -q "did not see" stderr && fail "a table of views is taken for one of pictures"
for key in train_loss train_soft_loss train_kl; do
  holds "$(distance "$(last $key store.jsonl)" "$(last $key table.jsonl)")" '<' 0.002 || fail "$key: $(last $key store.jsonl) and $(last $key table.jsonl)"
done
# Without ".png", in another order, and as an array in the order of names.csv.
{ head -n 1 drawn/scores.csv; tail -n +2 drawn/scores.csv | sed 's/\.png//' | sort -r; } >drawn/bare.csv
expect 0 "${student[@]}" --logits drawn/bare.csv --out bare.safetensors
cmp -s <(weights table.safetensors) <(weights bare.safetensors) || fail "names without .png teach other bits"
cp store.npy drawn/array.npy
expect 0 "${student[@]}" --logits drawn/array.npy --out array.safetensors
cmp -s <(weights store.safetensors) <(weights array.safetensors) || fail "an array of views teaches other bits"

# A table of the pictures themselves stays one, beside a views.json too.
expect 0 logits --model teacher.safetensors "${part[@]}" --out one.npy --csv drawn/one.csv
expect 0 "${student[@]}" --logits drawn/one.csv --out one.safetensors
expect 0 "${student[@]}" --logits one.npy --out one-store.safetensors
cmp -s <(weights one.safetensors) <(weights one-store.safetensors) || fail "a table beside views.json"

# Refused: other views than these, views that are missing, a table elsewhere, pictures that changed.
refuse() { expect_error "$1" "$2" "${student[@]}" --out y.safetensors --quiet "${@:3}"; }
refuse 2 "--augment: teacher and student must see the same views" --logits drawn/scores.csv --augment crop
refuse 2 "--views: drawn/scores.csv holds 3 views, not 2" --logits drawn/scores.csv --views 2
grep -v "red/1.ppm.2.png" drawn/scores.csv >drawn/short.csv
refuse 1 "drawn/short.csv: has no row for the view 'red/1.ppm.2.png', nor for 0 others of the 24; score every file of names.csv" --logits drawn/short.csv
cp drawn/scores.csv elsewhere.csv
refuse 1 "and views.json, which says how they were drawn, is not beside it" --logits elsewhere.csv
sed 's/"version": 1/"version": 2/' drawn/views.json >again/views.json && cp drawn/scores.csv again
refuse 1 "again/views.json: version 2, expected 1" --logits again/scores.csv
# A list that was not written by retort: deep, of more views than memory holds, of half a view.
nested=$(printf '%*s' 100000 '' | tr ' ' '[')
sed "s/\"version\": 1/\"version\": $nested/" drawn/views.json >again/views.json
refuse 1 "again/views.json: not a list of views: it is nested more than 32 deep" --logits again/scores.csv
sed 's/"views": 3/"views": 1000000000000000/' drawn/views.json >again/views.json
refuse 1 ".3.png', nor for 7999999999999975 others of the 8000000000000000" --logits again/scores.csv
sed 's/"views": 3/"views": 9000000000000000000/' drawn/views.json >again/views.json
refuse 1 "again/views.json: 8 names, 8 hashes and 9000000000000000000 views" --logits again/scores.csv
sed 's/"views": 3/"views": 3.5/' drawn/views.json >again/views.json
refuse 1 "again/views.json: not a list of views (" --logits again/scores.csv
# The index of a store that is called views.npy is no list of views.
mkdir beside && cp store.npy beside/views.npy && cp store.json beside/views.json && cp drawn/one.csv beside
expect 0 "${student[@]}" --logits beside/one.csv --out beside.safetensors
cmp -s <(weights one.safetensors) <(weights beside.safetensors) || fail "a table beside a store's views.json"
for i in 1 2 3 4 5; do picture 1 2 $((3 + i)) >data/red/$i.ppm; done
refuse 1 "red/" --logits drawn/scores.csv
expect_error 2 "--views: 0" views "${part[@]}" --views 0 --out none
expect_error 2 "--augment" views "${part[@]}" --views 2 --augment turn --out none
[[ ! -e y.safetensors && ! -e none/views.json ]] || fail "a failed command left a file"
