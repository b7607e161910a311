#!/usr/bin/env bash
# --report and graph: pages and pictures that stand alone, with a teacher and without, labelled or not.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/green "data/red & <blue>" flat
for i in 1 2 3 4 5 6; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >"data/red & <blue>/$i.ppm"
  ppm 8 30 $((150 + 10 * i)) $((20 * i)) >data/green/$i.ppm
  cp data/green/$i.ppm "flat/<$i>.ppm"
done
part=(--data data --val-split 0.34 --image-size 8 --batch-size 4 --epochs 3)
# A page that stands alone: complete, no address but SVG's own name space, no tag out of a class's name.
check_page() {
  [[ $(tail -n 1 "$1") == "</html>" ]] || fail "$1 is cut short"
  [[ -z $(grep -oE 'https?://[^"]*' "$1" | grep -v '^http://www.w3.org/2000/svg$') ]] || fail "$1 refers to the network"
  [[ $(grep -c '<svg' "$1") -gt 0 && $(grep -o '<svg' "$1" | wc -l) == $(grep -o '</svg>' "$1" | wc -l) ]] || fail "$1 has broken pictures"
  ! grep -q '<blue>' "$1" || fail "$1 does not escape"
}
has() { grep -qF -- "$2" "$1" || fail "$1 has no '$2'"; }

expect 0 train --model mlp:8 "${part[@]}" --out teacher.safetensors --report teacher.html
check_page teacher.html
has teacher.html "Training of mlp:8"
has teacher.html "red &amp; &lt;blue&gt;"
has teacher.html "Calibration"
has teacher.html "Accuracy, %"
! grep -q "What the teacher says" teacher.html || fail "a teacher where there is none"
has teacher.html "AUC"
! grep -q "top-5" teacher.html || fail "a top-5 of two classes"

expect 0 distill --student mlp:4 "${part[@]}" --teacher teacher.safetensors --temperature 5 --lambda 0.25 --out live.safetensors --report live.html --seed 3
check_page live.html
for text in "Distillation of mlp:4" "What the teacher says" "side by side" "gradient norm of the soft part" "T = 5" \
  "Images of the validation part" "effective hard share"; do
  has live.html "$text"
done
[[ $(grep -c 'class="card"' live.html) == 4 ]] || fail "not all 4 validation images as samples"

expect 0 logits --model teacher.safetensors --data data --val-split 0.34 --split train --out store.npy
expect 0 distill --student mlp:4 "${part[@]}" --logits store.npy --loss dkd --out stored.safetensors --report stored.html
check_page stored.html
has stored.html "Images of the training part"
! grep -q "effective hard share" stored.html || fail "a share of a loss that has none"

# Nothing but images and a teacher: no accuracy to draw.
expect 0 distill --student mlp:4 --data flat --val-split 0 --image-size 8 --teacher teacher.safetensors --epochs 2 --out flat.safetensors --report flat.html
check_page flat.html
! grep -q "Accuracy, %" flat.html || fail "accuracy without labels"
# A resumed run says where its curves begin; a finished one has none.
expect 0 distill --student mlp:4 "${part[@]}" --logits store.npy --loss dkd --out stored.safetensors --report stored.html --resume
has stored.html "no curves"

# What the student saves beside its teacher, or beside the ensemble and the largest of its networks.
row() { grep -oE "<tr><t[dh][^>]*>$2</t[dh]>.*" "$1" | sed -E 's/<\/t[dh]><t[dh][^>]*>/ | /g; s/<[^>]*>//g'; }
has live.html "The image of which the teacher is least sure: "
! grep -q "nats" live.html || fail "the entropy of one wrong class"
has live.html "beside the teacher"
[[ $(row live.html parameters) == "parameters | 1.56 thousand | 782 | 2.0 times fewer" ]] || fail "parameters: $(row live.html parameters)"
[[ $(row live.html "multiply-adds a photo") == "multiply-adds a photo | 1.55 thousand | 776 | 2.0 times fewer" ]] || fail "multiply-adds"
[[ $(row live.html file) =~ ^"file | "[0-9.]+" kB | "[0-9.]+" kB | "[0-9.]+" times smaller"$ ]] || fail "file: $(row live.html file)"
[[ $(row live.html "milliseconds a photo") =~ (" times "(faster|slower)|"the same")$ ]] || fail "milliseconds"
expect 0 train --model mlp:16 "${part[@]}" --out second.safetensors
expect 0 distill --student mlp:4 "${part[@]}" --teacher teacher.safetensors,second.safetensors --out both.safetensors --report both.html
has both.html "beside the ensemble"
grep -q "largest of 2 teachers</th>.*ensemble</th>.*student</th>" both.html || fail "no columns of the ensemble"
[[ $(row both.html parameters) == "parameters | 3.12 thousand | 4.68 thousand | 782 | 6.0 times fewer" ]] || fail "ensemble: $(row both.html parameters)"
has stored.html "What the teacher takes is not known here"

# Up to 2,000 training images are looked at, though batches do not end there.
mkdir -p "many/red" many/green
for ((i = 0; i < 1050; ++i)); do cp "data/red & <blue>/1.ppm" many/red/$i.ppm; cp data/green/1.ppm many/green/$i.ppm; done
expect 0 distill --student mlp: --data many --val-split 0.01 --image-size 2 --batch-size 64 --epochs 1 --teacher "$(
  "$RETORT" train --model mlp: --data many --val-split 0.01 --image-size 2 --batch-size 64 --epochs 1 --out many.safetensors --quiet && echo many.safetensors)" \
  --out x.safetensors --report many.html
has many.html "On 2000 training images, at T = 4."

# Settings: what was typed and differs is open, defaults are folded, hashes are nowhere.
[[ $(row live.html --seed) == "--seed | 3" && $(row live.html --lambda) == "--lambda | 0.25" ]] || fail "settings: $(row live.html --seed) $(row live.html --lambda)"
[[ $(sed -n '/Those that differ/,/Settings at their defaults/p' both.html | grep -c -- "<td>--lambda</td>\|<td>--lr</td>\|<td>--teacher</td>") == 0 ]] ||
  fail "a default, or a hash, among the settings that differ"
has live.html "<code>--temperature</code> <code>5</code>"

expect 0 graph --model resnet20 --out graph.svg --temperature 7 --json
expect_json blocks 11
expect_json joins 9
expect_json forks 9
grep -qF 'p = softmax(v / T) at T = 7' stdout || fail "the head in text"
has graph.svg "layer3.2"
has graph.svg "T = 7"
expect 0 graph --model live.safetensors --out own.svg
has own.svg "8 x 8 x 3"
grep -qE '^ +loss = 0.1 cross-entropy \+ 0.9 T' stderr || fail "the head in text: $(cat stderr)"

expect_error 2 "--report: 'x.pdf' is not a .html" train --model mlp:4 "${part[@]}" --out x.safetensors --report x.pdf
touch file
expect_error 1 "file/x.html" train --model mlp:4 "${part[@]}" --out x.safetensors --report file/x.html --quiet
expect_error 2 "--out: 'x.png' is not a .svg" graph --model resnet20 --out x.png
expect_error 2 "--temperature: 0 " graph --model resnet20 --temperature 0 --out x.svg
expect_error 2 "--lambda: 2 " graph --model resnet20 --lambda 2 --out x.svg
expect_error 1 "resnet99" graph --model resnet99 --out x.svg
