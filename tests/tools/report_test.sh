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

expect 0 graph --model resnet20 --out graph.svg --temperature 7 --json
expect_json blocks 11
has graph.svg "layer3.2"
has graph.svg "T = 7"
expect 0 graph --model live.safetensors --out own.svg
has own.svg "8 x 8 x 3"

expect_error 2 "--report: 'x.pdf' is not a .html" train --model mlp:4 "${part[@]}" --out x.safetensors --report x.pdf
touch file
expect_error 1 "file/x.html" train --model mlp:4 "${part[@]}" --out x.safetensors --report file/x.html --quiet
expect_error 2 "--out: 'x.png' is not a .svg" graph --model resnet20 --out x.png
expect_error 2 "--temperature: 0 " graph --model resnet20 --temperature 0 --out x.svg
expect_error 2 "--lambda: 2 " graph --model resnet20 --lambda 2 --out x.svg
expect_error 1 "resnet99" graph --model resnet99 --out x.svg
