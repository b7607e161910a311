#!/usr/bin/env bash
# What is said of one's own folder: a transcript for each kind of folder, and what eval judges on.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# pictures FOLDER COUNT: that many, their names from 0 on.
ppm 8 200 60 30 >picture.ppm
pictures() {
  mkdir -p "$1"
  for ((n = 0; n < $2; ++n)); do cp picture.ppm "$1/$n.ppm"; done
}
# said LINE...: stderr has these lines.
said() {
  for line in "$@"; do grep -qxF -- "$line" stderr || fail "stderr has no line '$line'"; done
}
train=(train --model mlp:4 --image-size 8 --epochs 1 --batch-size 4 --threads 1 --out m.safetensors)

# train + valid
pictures tv/train/cat 6; pictures tv/train/dog 6; pictures tv/valid/cat 2; pictures tv/valid/dog 3
expect 0 "${train[@]}" --data tv
said "data: tv: 2 classes (cat, dog); train/: 12 pictures to train on; valid/: 5 pictures to validate"
! grep -q "passed over" stderr || fail "something was passed over"

# train + Val, in other capitals
pictures tV/Train/cat 4; pictures tV/Train/dog 4; pictures tV/Val/cat 1; pictures tV/Val/dog 1
expect 0 "${train[@]}" --data tV --json
said "data: tV: 2 classes (cat, dog); Train/: 8 pictures to train on; Val/: 2 pictures to validate"
expect_json_alone
[[ $(json path) == tV && $(json form) == "folder of classes" && $(values folder | tr '\n' ' ') == "Train/ Val/ " && $(json used) == 8 ]] ||
  fail "--json's data"

# training + test, and train + test: a share of the training pictures validates, the test part chooses nothing.
for name in training train; do
  pictures $name-test/$name/cat 10; pictures $name-test/$name/dog 10; pictures $name-test/test/cat 3; pictures $name-test/test/dog 2
  expect 0 "${train[@]}" --data $name-test
  said "data: $name-test: 2 classes (cat, dog); $name/: 18 pictures to train on; $name/: 2 pictures to validate, chosen by name (--val-split 0.1); test/: 5 pictures to test, which choose nothing"
  expect 0 eval --model m.safetensors --data $name-test --json
  expect_json samples 5
  for part in train:18 val:2 test:5; do
    expect 0 eval --model m.safetensors --data $name-test --split ${part%:*} --json
    expect_json samples ${part#*:}
  done
done
expect_error 1 "tv: has no test part; give it a folder test/, or choose --split val" eval --model m.safetensors --data tv --split test

# flat: no labels
pictures flat 3
expect_error 1 "flat: 3 images without class folders, but labels are needed; sort them into flat/<class>/" "${train[@]}" --data flat
expect 0 predict --model m.safetensors --data flat
said "data: flat: flat folder, no labels; 3 pictures"

# nested classes, and a set one level further down
pictures nested/cat/persian 4; pictures nested/cat/siamese 4; pictures nested/dog 4
expect 0 "${train[@]}" --data nested
said "data: nested: 2 classes (cat, dog); 10 pictures to train on; 2 pictures to validate, chosen by name (--val-split 0.1); a class is a folder of the first level: cat/ holds folders itself (persian, siamese), all of class cat"
pictures deep/pets/cat 2; pictures deep/pets/dog 2
expect_error 1 "if those are the classes, give --data deep/pets" "${train[@]}" --data deep

# .webp and .tiff among .jpg, hidden and other files, loose pictures, a folder beside the parts
pictures mixed/cat 4; pictures mixed/dog 4
touch mixed/cat/{a,b,c}.heic mixed/dog/x.TIFF mixed/LICENSE.txt mixed/dog/._0.ppm
cp picture.ppm mixed/loose.ppm
pictures mixed/cat/.thumbnails 2; mkdir mixed/.git
expect 0 "${train[@]}" --data mixed
said "passed over: 3 .heic and 1 .tiff, which this build does not read: convert them to JPEG or PNG; 1 picture beside the class folders, of no class (loose.ppm); 1 hidden picture (._0.ppm); 2 hidden folders (.git, .thumbnails); 1 file that is no picture (.txt)"
pictures tv/extra 2; mkdir tv/.cache; touch tv/{cover.heic,notes.txt}
expect 0 "${train[@]}" --data tv
said "passed over: 1 .heic, which this build does not read: convert them to JPEG or PNG; 2 pictures beside the parts, in none of them (extra/0.ppm, extra/1.ppm); 1 hidden folder (.cache); 1 file that is no picture (.txt)"
expect 0 "${train[@]}" --data tv --quiet
[[ ! -s stderr ]] || fail "--quiet speaks"
# .webp and .tiff among .jpg: WebP is read where libwebp was there when the program was built, else counted.
jpeg() { base64 -d <<<"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////////////////////wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AH//Z"; }
webp() { base64 -d <<<"UklGRh4AAABXRUJQVlA4TBEAAAAvB8ABAAdQniLXo/+BiOh/AAA="; }
mkdir -p photos/cat photos/dog
for i in 1 2 3 4 5; do jpeg >photos/cat/$i.jpg; jpeg >photos/dog/$i.JPEG; webp >photos/dog/$i.webp; done
touch photos/cat/scan.tiff photos/cat/scan2.tif
expect 0 "${train[@]}" --data photos
if grep -q "\.webp" stderr; then
  said "data: photos: 2 classes (cat, dog); 9 pictures to train on; 1 picture to validate, chosen by name (--val-split 0.1)" \
    "passed over: 1 .tif, 1 .tiff and 5 .webp, which this build does not read: convert them to JPEG or PNG"
else
  said "data: photos: 2 classes (cat, dog); 13 pictures to train on; 2 pictures to validate, chosen by name (--val-split 0.1)" \
    "passed over: 1 .tif and 1 .tiff, which this build does not read: convert them to JPEG or PNG"
fi

# one class; nothing that can be read
pictures one/cat 3
expect_error 1 "one: one class only ('cat'), expected at least two" "${train[@]}" --data one
mkdir -p unread/cat && touch unread/cat/{1,2}.heic
expect_error 1 "passed over: 2 .heic, which this build does not read" "${train[@]}" --data unread
expect_error 1 "is the same part as" "${train[@]}" --data "$(mkdir -p twice && cp -r tv/train tv/valid twice/ && cp -r tv/valid twice/val && echo twice)"

# names with spaces and commas, through scores and back
pictures "odd/a, b" 5; pictures "odd/c d" 5
mv "odd/a, b/1.ppm" "odd/a, b/one, two \"three\".ppm"
expect 0 "${train[@]}" --data odd --val-split 0.2
grep -qF "2 classes ('a, b', c d)" stderr || fail "odd names"
expect 0 logits --model m.safetensors --data odd --val-split 0 --out odd.npy --csv odd.csv
grep -qF '"a, b/one, two ""three"".ppm"' odd.csv || fail "a name is not quoted"
expect 0 distill --student mlp:4 --image-size 8 --data odd --val-split 0 --logits odd.csv --epochs 1 --threads 1 --out s.safetensors

# 60,000 files are read aloud, too.
mkdir -p many/{a,b,c,d,e,f}
for class in a b c d e f; do (cd many/$class && seq -f '%.0f.jpg' 10000 | xargs touch); done
start=$SECONDS
expect 1 "${train[@]}" --data many
said "data: many: 6 classes (a, b, c, d, e, f); 54000 pictures to train on; 6000 pictures to validate, chosen by name (--val-split 0.1)"
tail -n 1 stderr | grep -q "can't be decoded: an empty file" || fail "an empty file is not named"
expect 1 logits --model m.safetensors --data many --split test --out x.npy
((SECONDS - start < 120)) || fail "60,000 files take $((SECONDS - start)) s to list"

# eval on a folder without parts: all of it, but for a model that was trained on it.
pictures whole/cat 10; pictures whole/dog 10
for ((n = 0; n < 10; ++n)); do ppm 8 $((20 * n)) 10 10 >whole/cat/$n.ppm; ppm 8 10 10 $((20 * n)) >whole/dog/$n.ppm; done
cp -r whole other && for ((n = 0; n < 10; ++n)); do ppm 8 $((20 * n)) 99 10 >other/cat/$n.ppm; ppm 8 99 10 $((20 * n)) >other/dog/$n.ppm; done
expect 0 "${train[@]}" --data whole --val-split 0.2
expect 0 eval --model m.safetensors --data whole --json
expect_json samples 4
said "judged on the 4 of 20 pictures held out: m.safetensors was trained on the others (--val-split 0.2)"
mv whole elsewhere
expect 0 eval --model m.safetensors --data elsewhere --json
expect_json samples 4
expect 0 eval --model m.safetensors --data other --json
expect_json samples 20
said "judged on all 20 pictures, on none of which it was trained"
cp -r elsewhere grown && for ((n = 10; n < 60; ++n)); do cp picture.ppm grown/cat/$n.ppm; done
expect 0 eval --model m.safetensors --data grown --val-split 0.9
grep -q "warning: it was trained on [0-9]* of these at least" stderr || fail "a folder that grew judges in silence"
