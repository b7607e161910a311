#!/usr/bin/env bash
# --cache: the same bits with and without, for every command that reads images; one line whatever goes wrong.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
part=(--data data --val-split 0.25 --image-size 8)
cache=(--cache pixels.cache)
same() { cmp -s "$1" "$2" || fail "$2 has other bits than $1"; }

# Each command without a cache, with one that it makes, and with one that it finds.
three() { # SUFFIX command...: writes plain-SUFFIX, made-SUFFIX and found-SUFFIX
  local suffix=$1
  shift
  expect 0 "$@" --out "plain-$suffix"
  rm -f pixels.cache
  expect 0 "$@" --out "made-$suffix" "${cache[@]}"
  grep -q "pixels.cache: is not there yet; decoding 18 images into it" stderr || fail "$1 does not say that it decodes"
  expect 0 "$@" --out "found-$suffix" "${cache[@]}"
  grep -q "pixels.cache" stderr && fail "$1 decodes again"
  same "plain-$suffix" "made-$suffix"
  same "plain-$suffix" "found-$suffix"
}
three t.safetensors train --model mlp:8 "${part[@]}" --epochs 6 --batch-size 5 --augment crop,flip,jitter
for form in plain made found; do same plain-t.best.safetensors $form-t.best.safetensors; done
three l.npy logits --model plain-t.safetensors "${part[@]}" --split train --views 3 --augment flip,jitter
for form in made found; do same plain-l.json $form-l.json; done
three s.safetensors distill --student mlp:6 --data data --val-split 0.25 --image-size 8 --logits made-l.npy --epochs 4
three b.safetensors bias --model plain-t.safetensors --data data --shift red
expect 0 logits --model plain-t.safetensors "${part[@]}" --split train --out one.npy
sweep=(sweep --student mlp:4 "${part[@]}" --logits one.npy --epochs 2 --hold-out 0.3 --temperature 2 --lambda 0.5 --seeds 1)
expect 0 "${sweep[@]}" --out plain-sweep
expect 0 "${sweep[@]}" --out found-sweep "${cache[@]}"
same plain-sweep/sweep.csv found-sweep/sweep.csv
for command in "eval --model plain-t.safetensors --data data" "predict --model plain-t.safetensors --data data"; do
  expect 0 $command --json
  cp stdout plain.json
  expect 0 $command --json "${cache[@]}"
  same plain.json stdout
done

# An image changes, one is added, one is renamed, one removed: said in a line, and never wrong.
eval=(eval --model plain-t.safetensors --data data --val-split 0 --split train "${cache[@]}")
changes() { # MESSAGE: the next run says it, and its numbers are those without a cache
  expect 0 "${eval[@]}" --json
  grep -qF "pixels.cache: $1" stderr && [[ $(grep -vc "^data: " stderr) == 1 ]] || fail "the cache is not made again: $1"
  cp stdout cached.json
  expect 0 eval --model plain-t.safetensors --data data --val-split 0 --split train --json
  same stdout cached.json
  expect 0 "${eval[@]}" --json --quiet
  same stdout cached.json
  ! grep -vq "^data: " stderr || fail "a fresh cache is made again: $1"
}
cp -p data/red/3.ppm keep.ppm
ppm 8 7 7 200 >other.ppm
cp other.ppm data/red/3.ppm
touch -r keep.ppm data/red/3.ppm
changes "red/3.ppm has changed; decoding 18 images into it"
ppm 8 1 2 3 >data/blue/new.ppm
changes "blue/new.ppm is new; decoding 19 images into it"
mv data/blue/new.ppm data/blue/newer.ppm
changes "blue/new.ppm is gone"
rm data/blue/newer.ppm
changes "blue/newer.ppm is gone; decoding 18 images into it"
touch data/blue/1.ppm
expect 0 "${eval[@]}"
! grep -vq "^data: " stderr || fail "a touched image makes the cache again"

# --skip-bad lists the same with and without; without it the file is named when it is met.
head -c 40 keep.ppm >data/red/9.ppm
train=(train --model mlp:8 "${part[@]}" --epochs 2)
expect 0 "${train[@]}" --skip-bad --out plain-bad.safetensors --quiet
cp stderr plain.txt
for form in made found; do
  expect 0 "${train[@]}" --skip-bad --out $form-bad.safetensors "${cache[@]}" --quiet
  same plain.txt stderr
  same plain-bad.safetensors $form-bad.safetensors
done
grep -q "red/9.ppm" plain.txt || fail "--skip-bad does not list the file"
expect_error 1 "data/red/9.ppm: can't be decoded" "${train[@]}" --out x.safetensors "${cache[@]}" --quiet
cp keep.ppm data/red/9.ppm
changes "red/9.ppm has changed"

# What is no cache, or is damaged, is refused and kept.
echo precious >notes.txt
expect_error 1 "notes.txt: is no cache of decoded images" "${train[@]}" --out x.safetensors --cache notes.txt
[[ $(cat notes.txt) == precious ]] || fail "--cache overwrote a file of another kind"
head -c 2000 pixels.cache >cut.cache
cp cut.cache kept.cache
expect_error 1 "cut.cache: is damaged or cut short" "${train[@]}" --out x.safetensors --cache cut.cache
same kept.cache cut.cache
cp -r data elsewhere
expect 0 "${train[@]}" --data elsewhere --out x.safetensors "${cache[@]}"
grep -q "pixels.cache" stderr && fail "a copy of the folder makes the cache again"
ppm 8 9 9 9 >elsewhere/red/1.ppm
expect_error 1 "pixels.cache: holds the images of" "${train[@]}" --data elsewhere --out x.safetensors "${cache[@]}"

# What cannot be written.
expect_error 1 "notes.txt/pixels.cache: cannot write" "${train[@]}" --out x.safetensors --cache notes.txt/pixels.cache --quiet
status=0
(trap '' XFSZ && ulimit -f 2 && "$RETORT" "${train[@]}" --out x.safetensors --cache full.cache --quiet >stdout 2>stderr) || status=$?
[[ $status == 1 && $(wc -l <stderr) == 1 ]] && grep -q "full.cache: cannot write: " stderr || fail "a full disk: status $status"
[[ -z $(find . -name '*full.cache*') ]] || fail "a full disk leaves $(find . -name '*full.cache*')"
expect_error 2 "--cache: goes with --data" predict --model plain-t.safetensors data/red/1.ppm "${cache[@]}"

# MNIST's files hold decoded images.
mkdir mnist
{ printf '\0\0\x08\x03\0\0\0\x14\0\0\0\x02\0\0\0\x02' && head -c 80 /dev/zero; } >mnist/train-images-idx3-ubyte
{ printf '\0\0\x08\x01\0\0\0\x14' && for i in {1..10}; do printf '\0\1'; done; } >mnist/train-labels-idx1-ubyte
expect_error 2 "--cache: the images of mnist are decoded as they are" train --model mlp:2 --data mnist --out x.safetensors \
  --cache mnist.cache
[[ ! -e mnist.cache && -z $(find . -name '*.tmp') ]] || fail "a cache of MNIST's files"
