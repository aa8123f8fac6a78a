#!/usr/bin/env bash
# cvrun pack: what it writes is what the data set says, read back by a data set or by counting; whole or not at all.
. "$(dirname "$0")/lib.sh"

cat >scenes.ini <<'INI'
[data]
format = scenes
train_size = 60
val_size = 10
objects = 0,5
[net]
fc = linear num_classes
INI

# labels: a folder a class, which data.format=folder reads back with the same pixels under the same classes
printf '[data]\nformat = fake\nsize = 40\nclasses = 3\nimg_size = 9\nnames = one/two,.b,c\n[net]\nfc = linear num_classes\n' >fake.ini
expect 0 "" "$CVRUN" pack fake.ini out=first as=folder
grep -q "^first: 80 pictures as folder" out.txt || fail "it does not say what it wrote"
printf '[data]\nformat = folder\nroot = first\n[net]\nfc = linear num_classes\n' >folder.ini
expect 0 "" "$CVRUN" pack folder.ini out=second as=folder
pixels() { (cd "$1" && find . -name '*.png' -exec sha256sum {} + | sed 's,[0-9]*\.png$,,' | sort); }
[ "$(pixels first | wc -l)" -eq 80 ] || fail "80 pictures were to be written"
[ "$(pixels first)" = "$(pixels second)" ] || fail "what was read back has other pixels or classes"
[ "$(ls first/train | tr '\n' ' ')" = "_b c one_two " ] || fail "classes are not folders"
[ "$(ls -d ./*.tmp 2>/dev/null | wc -l)" -eq 0 ] || fail "a temporary folder was left"

# a cache for training: whatever the threads the same bytes, the same pixels and classes as the data's own, damage is seen
expect 0 "" "$CVRUN" pack folder.ini out=cache data.workers=0
grep -q "^cache: 80 pictures as pack" out.txt || fail "it does not say what it wrote"
expect 0 "" "$CVRUN" pack folder.ini out=cache2 data.workers=3
cmp cache/train.pack cache2/train.pack || fail "the number of threads changes what is written"
printf '[data]\nformat = pack\nroot = cache\n[net]\nfc = linear num_classes\n' >packed.ini
expect 0 "" "$CVRUN" pack packed.ini out=third as=folder
[ "$(pixels first)" = "$(pixels third)" ] || fail "the cache has other pixels or classes"
expect 0 "" "$CVRUN" pack folder.ini out=files store=files
expect 0 "" "$CVRUN" pack packed.ini out=fourth as=folder data.root=files
[ "$(pixels first)" = "$(pixels fourth)" ] || fail "the cache of files has other pixels or classes"
expect 0 "" "$CVRUN" pack folder.ini out=small size=5
expect 0 "" "$CVRUN" pack packed.ini out=fifth as=folder data.root=small
file fifth/train/c/*.png 2>/dev/null | grep -v '5 x 5' | grep -q 'x' && fail "size=5 was to make them smaller"
# the same run from the cache as from the folder
for what in folder packed; do
  sed -i 's/^fc = /f = flatten\nfc = /' $what.ini
  expect 0 "" "$CVRUN" train $what.ini name=$what epochs=1 run.project=runs data.workers=1 optim.lr=0.01
done
cut -d, -f1-3 runs/classify/folder/steps.csv >a.csv; cut -d, -f1-3 runs/classify/packed/steps.csv >b.csv
cmp a.csv b.csv || fail "the cache trains otherwise"
checks=$((checks + 5))
printf x | dd of=cache/train.pack bs=1 seek=70 conv=notrunc 2>/dev/null
expect 1 'sum of a sample differs' "$CVRUN" pack packed.ini out=sixth as=folder
head -c 3000 cache/val.pack >short; cp short cache/val.pack
expect 1 'ends too early' "$CVRUN" pack packed.ini out=sixth as=folder split=val
expect 2 'channels' "$CVRUN" pack packed.ini out=sixth model.in_channels=1 data.root=cache2
expect 2 'store' "$CVRUN" pack folder.ini out=sixth store=jpeg

# the same bytes whatever the threads
expect 0 "" "$CVRUN" pack scenes.ini out=coco data.workers=3
expect 0 "" "$CVRUN" pack scenes.ini out=alone data.workers=0
diff -r coco alone || fail "the number of threads changes what is written"
checks=$((checks + 1))

# coco: runs add up to the picture and to the area; ids count; every picture is there
for split in train val; do
  json=coco/annotations/instances_$split.json
  awk -v pictures="$(ls coco/$split | wc -l)" '
    /"image_id"/ {
      n++
      match($0, /"id": [0-9]+/); if (substr($0, RSTART + 6, RLENGTH - 6) != n) bad = "ids do not count"
      match($0, /"counts": \[[^]]*/); runs = split(substr($0, RSTART + 11, RLENGTH - 11), run, ", ")
      all = ones = 0; for (i = 1; i <= runs; i++) { all += run[i]; if (i % 2 == 0) ones += run[i] }
      if (all != 128 * 128) bad = "runs do not add up to the picture"
      match($0, /"area": [0-9]+/); if (substr($0, RSTART + 8, RLENGTH - 8) != ones) bad = "the area is not that of the mask"
      match($0, /"bbox": \[[^]]*/); split(substr($0, RSTART + 9, RLENGTH - 9), box, ", ")
      if (box[3] * box[4] < ones || box[1] + box[3] > 128 || box[2] + box[4] > 128) bad = "a box does not hold its mask"
      match($0, /"category_id": [0-9]+/); c = substr($0, RSTART + 15, RLENGTH - 15) + 0; if (c < 1 || c > 10) bad = "category " c
    }
    /"file_name"/ { images++ }
    /"name"/ { categories++ }
    END {
      if (n < 10) bad = "hardly any objects"
      if (images != pictures) bad = "images are missing"
      if (categories != 10) bad = categories " categories"
      if (bad) { print bad; exit 1 }
    }' $json || fail "$json"
  checks=$((checks + 1))
done
python3 -c 'import json, sys; [json.load(open(f)) for f in sys.argv[1:]]' coco/annotations/*.json || fail "the JSON does not parse"

# masks
expect 0 "" "$CVRUN" pack scenes.ini out=masks as=masks split=val
[ "$(ls masks | tr '\n' ' ')" = "classes.txt val " ] || fail "split=val writes other folders"
[ "$(ls masks/val/images | wc -l)$(ls masks/val/masks | wc -l)" = 1010 ] || fail "pictures or masks are missing"
[ "$(head -n 1 masks/classes.txt)" = background ] && [ "$(wc -l <masks/classes.txt)" -eq 11 ] || fail "classes.txt"
cmp -s masks/val/images/000003.png coco/val/000003.png || fail "the pictures of two layouts differ"
checks=$((checks + 4))

# refused, before anything is written
expect 1 "not an empty folder" "$CVRUN" pack scenes.ini out=coco
expect 2 "as=folder needs label" "$CVRUN" pack scenes.ini out=no as=folder
expect 2 "as=coco needs boxes" "$CVRUN" pack fake.ini out=no as=coco
expect 2 "as=xml: choose one of" "$CVRUN" pack scenes.ini out=no as=xml
expect 2 "split=test: choose one of" "$CVRUN" pack scenes.ini out=no split=test
expect 2 "out=DIR" "$CVRUN" pack scenes.ini
expect 2 "data.objects = 5,2" "$CVRUN" pack scenes.ini out=no data.objects=5,2
expect 2 "2 names for 3 classes" "$CVRUN" pack fake.ini out=no as=folder data.names=a,b
expect 2 "two classes would be the folder a_b" "$CVRUN" pack fake.ini out=no as=folder data.names=a/b,a_b,c
[ "$(find . -maxdepth 1 -name 'no*' | wc -l)" -eq 0 ] || fail "something was left behind"
mkdir empty
expect 0 "" "$CVRUN" pack scenes.ini out=empty/ split=val
[ -d empty/annotations ] || fail "an empty folder was not filled"

# a bad picture: named, or left out where data.on_error says so
printf 'no picture' >first/train/c/x.png
expect 1 "first/train/c/x.png" "$CVRUN" pack folder.ini out=no as=folder
expect 0 "skipped" "$CVRUN" pack folder.ini out=without as=folder data.on_error=skip
grep -q "80 pictures as folder; 1 left out that cannot be used" out.txt || fail "bad pictures are not counted"

# interrupted: status 75, and nothing left
"$CVRUN" pack scenes.ini out=long data.train_size=1000000 >out.txt 2>err.txt &
child=$!
for ((i = 0; i < 200; i++)); do
  [ -n "$(find . -path './long.*.tmp/train/*' -print -quit 2>/dev/null)" ] && break
  sleep 0.05
done
kill -TERM "$child"
got=0; wait "$child" || got=$?
[ "$got" -eq 75 ] || { cat err.txt >&2; fail "status $got after SIGTERM"; }
[ -z "$(find . -maxdepth 1 -name 'long*')" ] || fail "an interrupted run left files"
checks=$((checks + 2))
done_with pack_test
