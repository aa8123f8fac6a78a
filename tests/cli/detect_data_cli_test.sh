#!/usr/bin/env bash
# Data with boxes end to end: what cvrun pack writes as COCO's and YOLO's files is read back the same, and cvrun check names what is
# not right.
. "$(dirname "$0")/lib.sh"

printf '[data]\nformat = scenes\nfields = instances\ntrain_size = 8\nval_size = 4\nobjects = 1,4\nimg_size = 64\n' >scenes.ini # pack needs no network
expect 0 "" "$CVRUN" pack scenes.ini out=data as=coco
printf '[data]\nformat = coco\nroot = data\nmasks = yes\n' >coco.ini
expect 0 "" "$CVRUN" pack coco.ini out=again as=coco
# the same but for how a number is written
numbers() { sed 's/\.0*\([^0-9]\)/\1/g' "$1"; }
for split in train val; do
  diff -r data/$split again/$split || fail "pictures that were read back differ"
  numbers data/annotations/instances_$split.json >a; numbers again/annotations/instances_$split.json >b
  same a b
done

# crowds, ids and areas stay
sed -i '0,/"iscrowd": 0/s//"iscrowd": 1/; 0,/"area": [0-9]*/s//"area": 7.25/; s/"category_id": 10,/"category_id": 77,/; s/{"id": 10, "name"/{"id": 77, "name"/' \
  again/annotations/instances_train.json
expect 0 "" "$CVRUN" pack coco.ini out=third as=coco data.root=again
same again/annotations/instances_train.json third/annotations/instances_train.json

expect 0 "" "$CVRUN" pack scenes.ini out=yolo as=yolo data.fields=boxes
printf '[run]\ntask = detect\n[data]\nformat = yolo\nroot = yolo\n[model]\nname = ssdlite320_mobilenet_v3_large\n' >yolo.ini
expect 0 "" "$CVRUN" pack yolo.ini out=yolo2 as=yolo
diff -r yolo yolo2 || fail "labels that were read back differ"
expect 2 "as=yolo needs boxes" "$CVRUN" pack scenes.ini out=never as=yolo data.fields=mask

# a bad row stops; skipped, it is counted
sed -i '1s/^[0-9]*/10/' yolo/labels/train/000000.txt
printf '0 0.5 0.5 0.2\n0 nan 0.5 0.1 0.1\n' >>yolo/labels/train/000001.txt
printf '0 0.5 0.5 1.0004 0.1\n' >yolo/labels/train/000002.txt
rm yolo/labels/train/000003.txt
expect 1 "labels/train/000000.txt: line 1: class 10 of 10, counted from 0; mend the row, or name more classes" "$CVRUN" pack yolo.ini out=never as=yolo
expect 0 "objects that reach beyond the border of their picture by less than a hundredth of it, and are cut off there: 1, the first" "$CVRUN" pack yolo.ini out=some as=yolo data.on_error=skip
grep -q '^some: 10 pictures as yolo.*; 2 left out that cannot be used' out.txt || { cat out.txt; fail "it does not count what is left out"; }
checks=$((checks + 1))
[ "$(ls some/labels/train | tr '\n' ' ')" = "000002.txt 000003.txt 000004.txt 000005.txt 000006.txt 000007.txt " ] || fail "others were left out"

says() { grep -qE -- "$1" out.txt || { cat out.txt >&2; fail "check does not say $1"; }; checks=$((checks + 1)); }
got=0; "$CVRUN" check yolo.ini >out.txt 2>err.txt || got=$?
[ "$got" -eq 1 ] || { cat err.txt; fail "status $got where rows are bad"; }
says 'labels/train/000000.txt: line 1: class 10 of 10'
says 'labels/train/000001.txt: line [0-9]: 4 numbers; a box has five.*\(and 1 more of this picture\)'
says '2 bad'
says '^objects of class +training +validation$'
says '^training: [0-9]+ to [0-9]+ objects a class'
grep -q 'without a label file, which are background: 1 of 8, the first is' err.txt || { cat err.txt; fail "pictures without labels are not counted"; }

# data.root is no file; a class that only validation has
expect 2 "data.root is a folder; give this file, if it describes the data, as data.annotations" \
  "$CVRUN" pack yolo.ini out=never as=yolo data.root=yolo/data.yaml
for split in train val; do
  mkdir -p voc/$split; cp data/$split/00000[01].png voc/$split
  printf '<a><object><name>%s</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></a>' $split |
    tee voc/$split/000000.xml >voc/$split/000001.xml
done
expect 1 'the validation data has the class `val`, which the training data has not; remove or rename it, or give both the same list of classes by data.class_names' \
  "$CVRUN" check yolo.ini data.format=voc data.root=voc
printf 'train\nval\n' >voc/names.txt
expect 0 "" "$CVRUN" check yolo.ini data.format=voc data.root=voc data.class_names="$PWD/voc/names.txt"

# as many classes as may be take neither memory nor time by their square; training's pictures as validation's are warned of
mkdir -p many; cp -r yolo2/images yolo2/labels many
printf 'train: images/val\nval: images/val\nnc: 65536\n' >many/data.yaml
many=(data=many model="$here/../golden/darknet/yolov3.cfg")
expect 0 "" "$CVRUN" check "${many[@]}"
printf 'train: images/val\nval: images/val\nnc: 20\n' >many/data.yaml
expect 0 "the pictures that validate are among those that are trained on" "$CVRUN" train "${many[@]}" epochs=0
sed -i 's/20/65537/' many/data.yaml
expect 1 'data.yaml:3: `nc` is a whole number from 1 to 65536' "$CVRUN" check "${many[@]}"

# broken files: one line
head -c 2000 data/annotations/instances_val.json >short; mv short data/annotations/instances_val.json
expect 1 "the JSON ends too early" "$CVRUN" pack coco.ini out=never as=coco
printf 'train: [images/train\n' >yolo/data.yaml
expect 1 "this is no YAML" "$CVRUN" pack yolo.ini out=never as=yolo
done_with detect_data_cli_test
