#!/usr/bin/env bash
# bundle: one file that predicts, as `retort predict` does, with nothing beside it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

program=$(dirname "$RETORT")/retort-classify
[[ -x $program ]] || { echo "no retort-classify beside $RETORT: nothing to bundle with"; exit 77; }

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6; do
  ppm 32 $((130 + 20 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 32 30 $((20 * i)) $((130 + 20 * i)) >data/blue/$i.ppm
done

# Runs a bundle in an empty root, or as it is where this user may not change the root.
mkdir root
alone() {
  if chroot root /classify --version >/dev/null 2>&1; then chroot root /classify "$@"; else (cd root && ./classify "$@"); fi
}

# The same answers, in every form.
for model in mlp:20x10 resnet8 resnet14_a; do
  expect 0 train --model $model --data data --image-size 32 --epochs 2 --batch-size 4 --out net.safetensors --restart --quiet
  expect 0 bundle --model net.safetensors --out root/classify --json
  expect_json_alone
  expect_json dtype f32
  expect_json bytes "$(wc -c <root/classify)"
  cp -r data root/
  (cd root && "$RETORT" predict --model ../net.safetensors --top 1 data/red/1.ppm data/blue --csv wanted.csv --quiet >wanted)
  (cd root && "$RETORT" predict --model ../net.safetensors data --json --quiet >wanted.json)
  alone --top 1 data/red/1.ppm data/blue --csv found.csv --quiet >found || fail "the bundle of $model"
  cmp found root/wanted || fail "$model: a bundle says something else: $(cat found)"
  cmp root/found.csv root/wanted.csv || fail "$model: a bundle's table is another"
  alone data --json --quiet >found || fail "the bundle of $model, --json"
  cmp found root/wanted.json || fail "$model: a bundle's JSON is another: $(cat found)"
  rm -r root/data root/*.csv
done
chroot root /classify --version >/dev/null 2>&1 || echo "may not change the root here: bundles ran in a folder alone"
[[ $(alone - <data/red/1.ppm) == "-  "* ]] || fail "a picture on standard input"

# No shared library, and a program of less than 5 MB.
linkage=$(ldd root/classify 2>&1 || true)
[[ $linkage == *"not a dynamic executable"* || $linkage == *"statically linked"* ]] || fail "shared libraries: $linkage"
(($(wc -c <"$program") < 5000000)) || fail "the program has $(wc -c <"$program") bytes"

# By another name, through a link, from another folder, by PATH.
mv root/classify root/flowers
ln -s root/flowers link
expected=$(cd root && ./flowers ../data/red/1.ppm | cut -d' ' -f2-)
[[ $(./link data/red/1.ppm | cut -d' ' -f2-) == "$expected" && $(PATH=root:$PATH flowers data/red/1.ppm | cut -d' ' -f2-) == "$expected" ]] ||
  fail "a bundle does not find itself"
mv root/flowers classify

# A bundle is a model file, too.
expect 0 predict --model classify data/red/1.ppm --json
one=$(json probability)
expect 0 predict --model net.safetensors data/red/1.ppm --json
expect_json probability "$one"
expect 0 summary --model classify --json
expect_json architecture resnet14_a
! grep -aq '"trained_on"' classify || fail "a bundle holds hashes of the pictures of its training"

# f16: half the weights, what it costs, and the same answers as f32 says it rounds to.
expect 0 bundle --model net.safetensors --dtype f16 --data data --out half --json
expect_json dtype f16
expect_json pictures 12
half_accuracy=$(json f16_accuracy)
full_accuracy=$(json f32_accuracy)
expect 0 eval --model half --data data --split train --val-split 0 --json
expect_json accuracy "$half_accuracy"
expect 0 eval --model net.safetensors --data data --split train --val-split 0 --json
expect_json accuracy "$full_accuracy"
expect 0 summary --model half --json
expect_json f16_accuracy "$half_accuracy"
expect_json f32_accuracy "$full_accuracy"
expect_json accuracy_pictures 12
weights_f32=$(($(wc -c <classify) - $(wc -c <"$program"))) weights_f16=$(($(wc -c <half) - $(wc -c <"$program")))
holds "$weights_f16" '<' "$(awk "BEGIN { print 0.65 * $weights_f32 }")" || fail "f16 takes $weights_f16 bytes, f32 $weights_f32"
expect 0 predict --model half data/blue --json --quiet
cp stdout wanted.json
./half data/blue --json --quiet >found
cmp found wanted.json || fail "f16 answers otherwise in a bundle"
expect 0 bundle --model net.safetensors --dtype f16 --data data --out half
grep -qE "^f16: accuracy [0-9.]+%, f32: [0-9.]+%, lost -?[0-9.]+ points, on 12 pictures$" stderr || fail "what f16 costs is not said"

# What is wrong with a bundle is one line.
refused() {
  local message=$1 status=0
  shift
  "$@" >stdout 2>stderr || status=$?
  [[ $status == 1 && $(wc -l <stderr) == 1 && ! -s stdout ]] || fail "$*: status $status"
  grep -qF -- "$message" stderr || fail "$*: stderr does not say '$message'"
}
size=$(wc -c <classify)
head -c $((size - 1)) classify >short && chmod +x short
refused "short: cut short: its model's end is missing; copy the bundle again" ./short data/red/1.ppm
head -c $(($(wc -c <"$program") + 100)) classify >short
refused "cut short" ./short data/red/1.ppm
refused "cut short" "$RETORT" predict --model short data/red/1.ppm
{ head -c $((size - 5000)) classify; tail -c 4000 classify; } >short
refused "its last bytes say that a model of" ./short data/red/1.ppm
cp classify changed
printf x | dd of=changed bs=1 seek=$((size - 1000)) conv=notrunc status=none
refused "changed: its model has changed since it was bundled (hash " ./changed data/red/1.ppm
refused "retort-classify: holds no model; " "$program" data/red/1.ppm
refused "missing.jpg" ./classify missing.jpg
head -c 20 data/red/1.ppm >cut.ppm
refused "cut.ppm" ./classify cut.ppm
./classify >stdout 2>stderr && fail "a bundle without a picture"
[[ $? == 2 || $(wc -l <stderr) == 1 ]] || fail "a bundle without a picture: $(cat stderr)"
# Without its execute bit the shell refuses; the model can still be asked.
cp classify plain && chmod -x plain
status=0
bash -c ./plain 2>stderr || status=$?
[[ $status == 126 ]] || fail "a file without execute bit ran: $status"
expect 0 predict --model plain data/red/1.ppm

# What is there is kept, unless it is a bundle; that keeps no mode that does not execute.
expect 0 bundle --model net.safetensors --out plain
[[ -x plain ]] && cmp -s plain classify || fail "a bundle made anew is another, or does not execute"
cp net.safetensors before
expect_error 2 "--out: net.safetensors is the model itself" bundle --model net.safetensors --out net.safetensors
expect_error 2 "--out: before is there and is no bundle; name another file or remove it" bundle --model net.safetensors --out before
expect_error 1 "root: cannot write: it is a folder" bundle --model net.safetensors --out root
cmp before net.safetensors || fail "a file was written over"
expect_error 1 "missing.safetensors" bundle --model missing.safetensors --out x
head -c 1000 net.safetensors >short.safetensors
expect_error 1 "short.safetensors" bundle --model short.safetensors --out x
expect_error 2 "--data: f32 loses nothing" bundle --model net.safetensors --data data --out x
expect_error 2 "--dtype: 'int8' is not known" bundle --model net.safetensors --dtype int8 --out x
# A weight beyond f16.
header='{"__metadata__":{"architecture":"mlp:","classes":"[\"a\",\"b\"]","image_size":"1","channels":"1","mean":"[0.0]","std":"[1.0]"},"layers.0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'
floats 70000 1 70000 0 | safetensors "$header" >large.safetensors
expect_error 1 "tensor 'layers.0.weight' has the value 70000, and f16 ends at 65504; write it as f32" bundle --model large.safetensors --dtype f16 --out x
# A full disk, as far as one file goes.
(ulimit -f 100 && status=0 && { "$RETORT" bundle --model net.safetensors --out x >stdout 2>stderr || status=$?; } && [[ $status == 1 ]]) || fail "a file that may not grow"
[[ $(wc -l <stderr) == 1 ]] && grep -q "x: cannot write" stderr || fail "a file that may not grow: what it says"
[[ ! -e x && -z $(find . -name '.x.*') ]] || fail "a failed command left a file"
# Without the program that it begins with.
mkdir lone && cp "$RETORT" lone/
RETORT=$PWD/lone/retort expect_error 1 "build it with \`cmake --build build --target retort-classify\`" bundle --model net.safetensors --out x
