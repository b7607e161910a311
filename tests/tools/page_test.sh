#!/usr/bin/env bash
# page: what the command refuses, and that it writes the same page twice. What the page does: tests/pages/classifier_test.py.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

module=$(dirname "$RETORT")/retort-page.wasm
[[ -f $module ]] || { echo "no retort-page.wasm beside $RETORT: nothing for a page to run"; exit 77; }

mkdir -p data/blue data/red others/left others/right
for i in 1 2 3 4; do
  ppm 8 200 20 $((20 * i)) | tee others/left/$i.ppm >data/red/$i.ppm
  ppm 8 20 $((20 * i)) 200 | tee others/right/$i.ppm >data/blue/$i.ppm
done
for data in data others; do
  expect 0 train --model mlp:4 --data $data --image-size 8 --epochs 1 --batch-size 4 --val-split 0 --out $data.safetensors --quiet
done

expect 0 page --model data.safetensors --out page.html --json
expect_json_alone
expect_json bytes "$(wc -c <page.html)"
grep -q "<h1>blue or red?</h1>" page.html || fail "the title"
grep -q "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';" page.html || fail "the page may ask the network"
! grep -q "trained_on" <(base64 -d <(sed -n 's/.*id="student">\(.*\)<\/script>/\1/p' page.html)) || fail "a page holds hashes of the pictures of its training"
cp page.html before.html
expect 0 page --model data.safetensors --out page.html --quiet
cmp page.html before.html || fail "the page is another the second time"
expect 0 page --model data.safetensors --teacher data.safetensors --out both.html --quiet
(($(wc -c <both.html) > $(wc -c <page.html))) || fail "no teacher in the page"

expect_error 2 "--teacher: others.safetensors has other classes than data.safetensors" page --model data.safetensors --teacher others.safetensors --out no.html
cp data.safetensors model.html
expect_error 2 "--out: model.html is what --model names; name another file" page --model model.html --out model.html
expect_error 2 "--out: model.html is what --teacher names; name another file" page --model data.safetensors --teacher model.html --out model.html
cmp data.safetensors model.html || fail "a model was overwritten"
expect_error 2 "--out" page --model data.safetensors --out page.txt
head -c 1000 data.safetensors >cut.safetensors
expect_error 1 "cut.safetensors: cut short" page --model cut.safetensors --out no.html
[[ ! -e no.html ]] || fail "half a page"

# Without the program there is no page.
mkdir lone
cp "$RETORT" lone/retort
"$PWD/lone/retort" page --model data.safetensors --out no.html 2>stderr && fail "a page without its program"
grep -qF "retort-page.wasm: not there, and a page runs it; build it with" stderr || fail "a missing program is not said"
