#!/usr/bin/env bash
# --tensorboard: event files that hold what the log says, with checksums, and that TensorBoard's own reader takes where it is installed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v python3 >/dev/null || { echo "no Python here: nothing reads the event files"; exit 77; }
events() {
  PYTHONDONTWRITEBYTECODE=1 python3 "$OLDPWD_TESTS/events.py" "$1" >seen.json 2>said || fail "the event files: $(cat said)"
}
OLDPWD_TESTS=$(cd "$OLDPWD" && cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8; do
  ppm 8 $((100 + 15 * i)) 20 30 >data/red/$i.ppm
  ppm 8 30 20 $((100 + 15 * i)) >data/blue/$i.ppm
done
net=(--model mlp:8 --data data --image-size 8 --val-split 0.25 --batch-size 4 --threads 1)

expect 0 train "${net[@]}" --epochs 3 --out net.safetensors --log net.jsonl --tensorboard board/net --keep-state --quiet
events board/net
cat said
check='
import json, sys
seen, log = json.load(open("seen.json")), [json.loads(line) for line in open("net.jsonl")]
def same(tag, key, epochs):
    found = [value for step, value in seen["scalars"][tag] if step in epochs]
    wanted = [line[key] for line in log if line["epoch"] in epochs]
    assert len(found) == len(wanted) and all(abs(a - b) <= 1e-6 * max(1, abs(b)) for a, b in zip(found, wanted)), (tag, found, wanted)
epochs = range(int(sys.argv[1]), int(sys.argv[2]) + 1)
for tag, key in (("train/loss", "train_loss"), ("val/accuracy", "val_accuracy"), ("run/lr", "lr"), ("run/images_per_second", "images_per_second")):
    same(tag, key, epochs)
assert "run/epoch" not in seen["scalars"]
assert seen["images"] == {"val/confusion": [[epoch, 96, 96] for epoch in range(1, int(sys.argv[2]) + 1)]}, seen["images"]
assert seen["hparams"]["batch-size"] == 4 and seen["hparams"]["model"] == "mlp:8", seen["hparams"]
assert seen["starts"] == json.loads(sys.argv[3]), seen["starts"]
'
python3 -c "$check" 1 3 '[1]' || fail "the events are not what the log says"

# A resumed run goes on in a file of its own, which takes back what it does again.
expect 0 train "${net[@]}" --epochs 5 --out net.safetensors --log net.jsonl --tensorboard board/net --resume --quiet
[[ $(ls board/net | wc -l) == 2 ]] || fail "two files"
events board/net
python3 -c "$check" 1 5 '[1, 4]' || fail "the events of a resumed run"

# Without validation there is no confusion; a student's line holds what the teacher adds.
expect 0 logits --model net.safetensors --data data --split train --val-split 0 --out train.npy --quiet
expect 0 distill --student mlp:4 --data data --image-size 8 --val-split 0 --logits train.npy --temperature 4 --epochs 1 --batch-size 4 --out s.safetensors --tensorboard board/s --quiet
events board/s
python3 - <<'P' || fail "the events of a student"
import json
seen = json.load(open("seen.json"))
assert seen["images"] == {} and seen["scalars"]["run/temperature"] == [[1, 4.0]] and "train/soft_loss" in seen["scalars"], seen
P

# The events change no bit of a run.
expect 0 train "${net[@]}" --epochs 3 --out a.safetensors --quiet
expect 0 train "${net[@]}" --epochs 3 --out b.safetensors --tensorboard board/b --quiet
cmp a.safetensors b.safetensors || fail "--tensorboard changes the run"

echo x >file
expect_error 1 "file: cannot write" train "${net[@]}" --epochs 1 --out c.safetensors --tensorboard file --quiet
[[ ! -e c.safetensors ]] || fail "a run without its events trained"
