#!/usr/bin/env bash
# A teacher whose classes are not the student's: folded for a live teacher, a store, a table, eval and predict.
source "$(dirname "$0")/common.sh"

# An image of one colour: write_ppm FILE RED GREEN BLUE
write_ppm() {
  mkdir -p "$(dirname "$1")"
  { printf 'P6\n8 8\n255\n'; for _ in $(seq 64); do printf "\\x$(printf %02x "$2")\\x$(printf %02x "$3")\\x$(printf %02x "$4")"; done; } >"$1"
}
for i in 0 1 2 3 4 5; do
  write_ppm fine/brick/$i.ppm $((200 + i)) 20 30
  write_ppm fine/rose/$i.ppm $((150 + i)) 90 30
  write_ppm fine/sky/$i.ppm 20 $((60 + i)) 220
  write_ppm coarse/blue/$i.ppm 25 $((55 + i)) 210
  write_ppm coarse/red/$i.ppm $((195 + i)) 25 40
done
printf 'teacher,student\nbrick,red\nrose,red\nsky,blue\n' >map.csv
expect 0 train --model mlp:8 --data fine --image-size 8 --epochs 6 --lr 0.05 --threads 1 --out teacher.safetensors

# Without a map the classes differ, and the refusal says so.
expect_error 1 "has 3 classes where 2 were expected" distill --student mlp:4 --data coarse --image-size 8 --epochs 1 \
  --teacher teacher.safetensors --out student.safetensors --quiet

expect 0 distill --student mlp:4 --data coarse --image-size 8 --epochs 2 --threads 1 --teacher teacher.safetensors \
  --class-map map.csv --out student.safetensors
grep -qF 'map.csv: blue = 1 classes, red = 2 classes (corrected for 2: -0.693)' stderr || fail "the correction is not said"

expect 0 eval --model teacher.safetensors --class-map map.csv --data coarse --split train --threads 1 --json
holds "$(json accuracy)" '>=' 0.9 || fail "the folded teacher is right on $(json accuracy)"
expect_error 1 "has 2 classes where teacher.safetensors has 3" eval --model teacher.safetensors --data coarse --quiet
expect 0 predict --model teacher.safetensors --class-map map.csv coarse/red/0.ppm --top 1
grep -qE '^coarse/red/0.ppm  red ' stdout || fail "predict does not name the student's class"

# A store in the student's classes, and one folded as it is read, teach the same.
expect 0 logits --model teacher.safetensors --class-map map.csv --data coarse --threads 1 --out folded.npy --csv folded.csv --quiet
head -1 folded.csv | grep -qx 'name,blue,red' || fail "the store's classes are $(head -1 folded.csv)"
mkdir flat && cp coarse/red/0.ppm flat/a.ppm
expect 0 logits --model teacher.safetensors --data flat --threads 1 --out fine.npy --csv fine.csv --quiet
{ head -1 fine.csv; for c in blue red; do for i in 0 1 2 3 4 5; do echo "$c/$i.ppm,$(sed -n 2p fine.csv | cut -d, -f2-)"; done; done; } >scores.csv
expect 0 distill --student mlp:4 --data coarse --image-size 8 --epochs 1 --threads 1 --logits scores.csv --class-map map.csv \
  --out student.safetensors
grep -qF 'corrected for 2: -0.693' stderr || fail "the correction of a table is not said"
expect 0 distill --student mlp:4 --data coarse --image-size 8 --epochs 1 --threads 1 --logits scores.csv --class-map map.csv \
  --no-prior --out student.safetensors
! grep -qF 'corrected' stderr || fail "--no-prior corrects"

# Without folders of classes the classes stand by name, whatever comes first in the map: scores of both go together.
printf 'teacher,student\nsky,red\nbrick,blue\nrose,blue\n' >first.csv
expect 0 logits --model teacher.safetensors --class-map first.csv --data coarse --threads 1 --out labelled.npy --csv labelled.csv --quiet
expect 0 logits --model teacher.safetensors --class-map first.csv --data flat --no-labels --threads 1 --out pile.npy --csv pile.csv --quiet
[[ $(head -1 pile.csv) == "$(head -1 labelled.csv)" ]] || fail "the classes of a flat folder are $(head -1 pile.csv)"
expect 0 distill --student mlp:4 --data coarse --image-size 8 --epochs 1 --threads 1 --unlabelled flat --logits labelled.npy \
  --logits pile.npy --out student.safetensors

# What is wrong is named.
expect_error 2 "--no-prior: goes with --class-map" predict --model teacher.safetensors --no-prior coarse/red/0.ppm
printf 'brick,red\ngrass,blue\n' >wrong.csv
expect_error 1 "wrong.csv: teacher.safetensors has no class 'grass'" predict --model teacher.safetensors --class-map wrong.csv \
  coarse/red/0.ppm --quiet
