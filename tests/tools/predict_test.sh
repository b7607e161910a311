#!/usr/bin/env bash
# predict and eval on images of one colour, by a linear map that adds up red for class 0 and blue for class 1.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# weight [2, 3 * 2 * 2] in c, h, w order; bias [2].
header='{"layers.0.weight":{"dtype":"F32","shape":[2,12],"data_offsets":[0,96]},"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[96,104]}}'
floats 1 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 0 0 | safetensors "$header" >weights.safetensors
net=(--model mlp: --weights weights.safetensors --image-size 2 --mean 0,0,0 --std 1,1,1)

mkdir -p data/train/blue data/train/red data/val/blue data/val/red
for split in train val; do
  for i in 1 2 3; do
    ppm 4 255 0 0 >data/$split/red/$i.ppm
    ppm 4 0 0 255 >data/$split/blue/$i.ppm
  done
done
ppm 4 0 0 255 >data/val/red/4.ppm  # blue, and labelled red

# Classes are sorted by name; the map wants red first.
expect 0 eval "${net[@]}" --data data --classes red,blue --json
expect_json_alone
expect_json samples 7
[[ $(json accuracy) == 0.857142857* ]] || fail "accuracy $(json accuracy)"
grep -q '"classes":\["red","blue"\],"confusion":\[\[3,1\],\[0,3\]\]' stdout || fail "confusion"
[[ -z $(json top5_accuracy) ]] || fail "a top-5 of two classes"
holds "$(json auc)" '>' 0.8 && holds "$(json precision)" == 0.75 && [[ $(json positive_class) == blue ]] || fail "what two classes have"
# Logits 4 and 0: -log softmax = log(1 + e^-4) for six, 4 more for the one that is wrong.
[[ $(json cross_entropy) == 0.58957849* ]] || fail "cross-entropy $(json cross_entropy)"
# Confidence 0.98201 in one bin, accuracy 6/7.
[[ $(json ece) == 0.12487093* ]] || fail "calibration error $(json ece)"
[[ $(json confidence) == 0.98201379* ]] || fail "mean confidence $(json confidence)"
expect 0 eval "${net[@]}" --data data --classes red,blue --split train --json
expect_json samples 6
expect_json accuracy 1.0
expect 0 eval "${net[@]}" --data data --classes red,blue
grep -qE '^accuracy +85.71%$' stdout && grep -q 'confusion' stdout || fail "the table"

# Against a teacher that agrees, from a bare table of logits.
{
  echo name,red,blue
  for i in 1 2 3; do echo "red/$i.ppm,4,0"; done
  echo "red/4.ppm,0,4"
  for i in 1 2 3; do echo "blue/$i.ppm,0,4"; done
} >teacher.csv
expect 0 eval "${net[@]}" --data data --classes red,blue --logits teacher.csv --temperature 2 --json
holds "$(json agreement)" == 1 || fail "agreement $(json agreement)"
holds "$(json kl)" '<' 1e-6 || fail "KL $(json kl)"
# The teacher's entropy at T = 2: odds e^2.
[[ $(json soft_cross_entropy) == 0.3653* ]] || fail "soft cross-entropy $(json soft_cross_entropy)"
sed '2d' teacher.csv >missing.csv
expect_error 1 "red/1.ppm" eval "${net[@]}" --data data --classes red,blue --logits missing.csv --json

# A folder, named files, and the order of both.
expect 0 predict "${net[@]}" data/val/red/1.ppm data/val/blue --json
expect_json_alone
[[ $(grep -o '"file"' stdout | wc -l) == 4 ]] || fail "four images"
grep -q '{"file":"data/val/red/1.ppm","top":\[{"class":"0","probability":0.98201' stdout || fail "the first is class 0"
grep -q '{"file":"data/val/blue/3.ppm","top":\[{"class":"1","probability":0.98201[0-9]*},{"class":"0"' stdout || fail "then class 1"
expect 0 predict "${net[@]}" --data data/val/red --top 1 --json
[[ $(grep -o '"probability"' stdout | wc -l) == 4 ]] || fail "--top 1 of a flat folder of four"
expect 0 predict "${net[@]}" data/val/red/1.ppm
grep -q 'data/val/red/1.ppm  0 98.20%  1 1.80%' stdout || fail "the line of an image"

head -c 20 data/val/red/1.ppm >data/cut.ppm
expect_error 1 "data/cut.ppm" predict "${net[@]}" data/val/red/1.ppm data/cut.ppm --json
expect 0 predict "${net[@]}" data/val/red/1.ppm data/cut.ppm --skip-bad --json
grep -q "data/cut.ppm" stderr && [[ $(grep -o '"file"' stdout | wc -l) == 1 ]] || fail "--skip-bad lists and skips"
mkdir empty
expect_error 1 "empty: holds no images" predict "${net[@]}" empty
expect_error 2 "--mean: 1 values for 3 channels" predict --model mlp: --weights weights.safetensors --image-size 2 --mean 0 data/val/red
expect_error 2 "--std: 0 is not allowed" predict --model mlp: --weights weights.safetensors --image-size 2 --std 1,0,1 data/val/red

# A trained model's file knows its classes and preprocessing.
expect 0 train --model mlp: --data data --image-size 2 --epochs 20 --batch-size 2 --lr 0.1 --out model.safetensors --quiet
expect 0 predict --model model.safetensors data/val/red/1.ppm --json
grep -q '"top":\[{"class":"red"' stdout || fail "the trained model sees red"
expect 0 summary --model model.safetensors --json
expect_json architecture mlp:
expect_json parameters 26
expect_error 1 "class 0 is 'red' where model.safetensors has 'blue'" eval --model model.safetensors --data data --classes red,blue
expect_error 2 "--weights: goes with" eval --model model.safetensors --weights model.safetensors --data data

# A table, the mistakes alone, and a picture on standard input.
expect 0 predict "${net[@]}" --data data --classes red,blue --split val --wrong-only --csv wrong.csv --json
[[ $(grep -o '"file"' stdout | wc -l) == 1 && $(json file) == red/4.ppm && $(json true) == red ]] || fail "the one mistake"
[[ $(sed -n 1p wrong.csv) == "name,true,prediction,red,blue" && $(sed -n 2p wrong.csv) == red/4.ppm,red,blue,0.01798*,0.98201* && $(wc -l <wrong.csv) == 2 ]] ||
  fail "wrong.csv: $(cat wrong.csv)"
expect 0 predict "${net[@]}" --data data --classes red,blue --split val --wrong-only
grep -q "^red/4.ppm .*(labelled red)$" stdout && grep -q "1 of 7 images are taken for another class" stderr || fail "what a mistake is labelled"
"$RETORT" predict "${net[@]}" - <data/val/red/1.ppm >stdout 2>stderr || fail "a picture on standard input"
grep -q "^-  " stdout || fail "standard input has no line"
expect_error 1 "-: nothing on standard input" predict "${net[@]}" -
expect_error 2 "--wrong-only: these images have no labels" predict "${net[@]}" --wrong-only data/val/red/1.ppm
expect_error 2 "--csv: 'x.txt' is not a .csv" predict "${net[@]}" --csv x.txt data/val/red/1.ppm
# Whoever reads the first line only gets it, and no complaint.
for ((n = 0; n < 3000; ++n)); do echo data/val/red/1.ppm; done | xargs "$RETORT" predict "${net[@]}" --quiet 2>stderr | head -n 1 >stdout || true
[[ $(wc -l <stdout) == 1 && ! -s stderr ]] || fail "a closed pipe behind predict"
