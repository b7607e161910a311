#!/usr/bin/env bash
# --config FILE: keys are flag names, sections are commands, and flags win.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cat >top.toml <<'TOML'
# a comment
model = "mlp:5"
image-size = 3
json = true
TOML
expect 0 summary --config top.toml
expect_json image_size 3
expect_json parameters 110  # 9 * 5 + 5 + 5 * 10 + 10
expect 0 summary --config top.toml --image-size 2
expect_json image_size 2
expect 0 summary --image-size 2 --config=top.toml
expect_json image_size 2

cat >sections.toml <<'TOML'
[train]
epochs = 3
[summary]
model = "mlp:"
image-size = 4
[bench.gemm]
m = 8
n = 8
k = 8
repeats = 2
backend = ["cpu", "reference"]
TOML
expect 0 summary --config sections.toml --json
expect_json parameters 170
expect 0 bench gemm --config sections.toml --json
expect_json shape "m8 n8 k8"
grep -q '"backend":"reference"' stdout || fail "a list in a file sets a list"

echo 'imagesize = 3' >unknown.toml
expect_error 2 "key 'imagesize'" summary --model mlp: --config unknown.toml
echo 'epochs = 3' >other.toml
expect_error 2 "key 'epochs'" summary --model mlp: --config other.toml
printf '[sumary]\nmodel = "mlp:"\n' >section.toml
expect_error 2 "[sumary]: no such command" summary --model mlp: --config section.toml
echo 'image-size = "wide"' >value.toml
expect_error 2 "--image-size: 'wide' is not allowed" summary --model mlp: --config value.toml
echo 'config = "top.toml"' >nested.toml
expect_error 2 "key 'config'" summary --model mlp: --config nested.toml

# A regular file alone, and no longer than a file of flags can be.
expect 0 --config top.toml summary
expect_error 1 "none.toml: cannot read" summary --model mlp: --config none.toml
mkfifo pipe.toml
head -c 300000 /dev/zero | tr '\0' '#' >long.toml
for file in pipe.toml /dev/zero; do
  expect_error 1 "$file: cannot read: not a regular file" summary --model mlp: --config $file
  expect_error 1 "$file: cannot read: not a regular file" --config $file summary --model mlp:
done
expect_error 1 "long.toml: has 300000 bytes" summary --model mlp: --config long.toml

# No other flag names the file: --log would write over it.
echo 'log = "own.toml"' >own.toml
echo 'epochs = 1' >flags.toml
ln -s flags.toml linked.html
for flags in "--config own.toml" "--config flags.toml --log ./flags.toml" "--config flags.toml --report linked.html"; do
  expect_error 2 "is the file of --config" train --model mlp: --data none --out p.safetensors $flags
  [[ $(cat own.toml flags.toml) == $'log = "own.toml"\nepochs = 1' ]] || fail "train wrote over the file of --config"
done
