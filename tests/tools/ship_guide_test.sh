#!/usr/bin/env bash
# The commands of docs/guide/ship.md, run as they stand there: in a folder with build/, student.safetensors and the pictures that they name.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"

[[ -x $(dirname "$RETORT")/retort-classify ]] || { echo "no retort-classify beside $RETORT: the guide's bundles can't be made"; exit 77; }
mkdir -p photos/cat photos/dog more-photos build
for program in retort retort-classify retort-page.wasm; do ln -s "$(dirname "$RETORT")/$program" build/; done
for i in 1 2 3 4 5 6; do
  ppm 32 $((130 + 20 * i)) $((20 * i)) 30 >photos/cat/$i.ppm
  ppm 32 30 $((20 * i)) $((130 + 20 * i)) >photos/dog/$i.ppm
done
cp photos/cat/1.ppm holiday.jpg  # a picture is known by its content
cp photos/dog/*.ppm more-photos/
expect 0 train --model resnet8 --data photos --image-size 32 --epochs 1 --batch-size 4 --out student.safetensors --log student.jsonl --quiet
cp student.safetensors teacher.safetensors
cp student.jsonl other.jsonl
skipped="^$"
[[ -f build/retort-page.wasm ]] || { echo "no retort-page.wasm beside $RETORT: the guide's page isn't made"; skipped="^build/retort page "; }

# Blocks without a language whose commands are ours: the others need what is not here, and say so by their language or their first word.
run_page() {
  local count=0 line
  while IFS= read -r line; do
    count=$((count + 1))
    [[ ! $line =~ $skipped ]] || continue
    bash -euo pipefail -c "$line" >stdout 2>stderr </dev/null || fail "$1: $line"
  done < <(awk '/^```/ { fenced = !fenced; ours = fenced && $0 == "```"; next } ours && /^(build\/retort|\.\/classify)/' "$here/../../docs/guide/$1")
  ((count >= $2)) || fail "$1 has $count commands to run, expected $2"
}
run_page ship.md 9
[[ $skipped != "^$" || -s student.html ]] || fail "the page of the guide"
[[ -x classify && -x classify-small && -s table.csv && -s student.onnx && -s student.npz && -s student.c ]] || fail "the files of the guide"
run_page watch.md 3
