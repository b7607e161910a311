# What the tests of the program on the simulator share: they skip where the build has none; pictures, and a short run on them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$RETORT" summary --model resnet8x4 --image-size 32 --device simt >stdout 2>stderr || {
  grep -q "is not in this build" stderr || fail "--device simt"
  echo "skipped: $(cat stderr)"
  exit 77
}

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
net=(--data data --image-size 8 --val-split 0.25 --batch-size 4 --epochs 3 --optimizer sgd --lr 0.05 --augment none --seed 3)
