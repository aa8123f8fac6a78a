#!/usr/bin/env bash
# Settings that nobody gave: what a model proposes and what goes before it, networks in files, data that is guessed, and commands
# without a recipe.
. "$(dirname "$0")/lib.sh"
include=$here/../../core/include
mkdir plug; chmod 755 plug
gcc -std=c17 -g -O1 -shared -fPIC ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -I"$include" -o plug/toy.so "$here/proposing_model.c" -lm
"$(dirname "$CVRUN")/cvr-manifest" plug/plugins.ini plug/toy.so
export CVR_PLUGIN_PATH=$work/plug

hasnt() { if grep -qF -- "$1" out.txt; then cat out.txt >&2; fail "cfg says $1"; fi; checks=$((checks + 1)); }

printf '[data]\nformat = fake\n[model]\nname = acme.toy\n[train]\nbatch = 4\n' >toy.ini
expect 0 "" "$CVRUN" cfg toy.ini
has 'img_size = 48 model acme.toy' 'mean = 0.5 model acme.toy' 'epochs = 3 model acme.toy' 'lr = 0.02 model acme.toy' 'std = 1 default' \
  'interval = 2 model acme.toy' 'warmup_epochs = 2 model acme.toy' 'random_horizontal_flip = p=0.25 model acme.toy' \
  'random_rotation = 10 model acme.toy' 'random_rotation = 20 model acme.toy' 'batch = 4 toy.ini:6'

# recipe and command line go before it; a line of [augment] before all of them; another optimizer before the numbers for the first
printf '[augment]\nrandom_vertical_flip =\n[optim]\nname = sgd\n[sched]\nname = cosine\nwarmup_epochs = 1\n' >>toy.ini
expect 0 "" "$CVRUN" cfg toy.ini model.width=5 imgsz=32
has 'img_size = 32 command line' 'epochs = 5 model acme.toy' 'name = sgd toy.ini:10' 'weight_decay = default' 'name = cosine toy.ini:12' \
  'warmup_epochs = 1 toy.ini:13' 'random_vertical_flip = toy.ini:8'
hasnt random_rotation; hasnt 0.125
expect 0 "" "$CVRUN" cfg toy.ini augment.preset=none optim.name=adamw
has 'weight_decay = 0.125 model acme.toy'
hasnt random_rotation

# what a model may not say names it
wrong() { expect "$1" "$3" env MISTAKE="$2" "$CVRUN" cfg toy.ini; }
wrong 1 section "model acme.toy proposes backend.name, which is not a model's to say"
wrong 1 run "model acme.toy proposes run.seed, which is not a model's to say"
wrong 2 key "model acme.toy: unknown key \`epoch\` in [train]"
wrong 1 form "proposes \`epochs\`, which is no section.key with a value"
wrong 2 value "model acme.toy: grad_accum = many: not a whole number"

# a remark is for who trains
expect 0 "warning: a toy's third line does nothing" env MISTAKE=remark "$CVRUN" cfg toy.ini

# a file that is a network, in a recipe and without one
echo layers >net.toy; mkdir sub; printf '[data]\nformat = fake\n[model]\nname = ../net.toy\n' >sub/file.ini
expect 0 "" "$CVRUN" cfg sub/file.ini
has 'name = acme.toy sub/file.ini:4' "toy = $work/net.toy sub/file.ini:4" 'epochs = 3 model acme.toy'
expect 1 "$work/net.toy:3: no layer of that name" env MISTAKE=fails "$CVRUN" cfg sub/file.ini
expect 0 "" "$CVRUN" cfg model=net.toy data.format=fake epochs=9
has 'name = net named after the model' "toy = $work/net.toy command line" 'epochs = 9 command line'
expect 2 'there is no model `net.other`' "$CVRUN" cfg model=net.other data.format=fake
expect 2 'without a recipe, model=NAME and data=FOLDER as settings' "$CVRUN" train data=.
unset CVR_PLUGIN_PATH

# what is counted in epochs fits the epochs that are asked for
yolox() { # EPOCHS LAST WARMUP: of `epochs=EPOCHS`, or of nothing at all
  expect 0 "" "$CVRUN" cfg model=yolox_nano data.format=fake ${4-epochs=$1}
  has "epochs = $1 $([ -n "${4-epochs}" ] && echo command line || echo model yolox_nano)" "close_mosaic = $2 model yolox_nano" \
    "flat_epochs = $2 model yolox_nano" "warmup_epochs = $3 model yolox_nano"
}
yolox 300 15 5 ''; yolox 100 15 5; yolox 20 4 2; yolox 5 1 0.5; yolox 4 0 0.4
expect 0 "" "$CVRUN" cfg model=yolox_nano data.format=fake epochs=10 train.close_mosaic=9
has 'close_mosaic = 9 command line' 'flat_epochs = 2 model yolox_nano'
expect 0 "" "$CVRUN" cfg model=yolox_nano data.format=fake train.max_batches=500
has 'epochs = 10 default' 'close_mosaic = 15 model yolox_nano'

# layers without data: the classes must be known, and the size, which this model proposes
expect 0 "" "$CVRUN" info model=yolox_nano model.num_classes=80
grep -q 'for a batch of 1' out.txt || { cat out.txt; fail "no layers"; }
expect 2 'how many classes are there? Set model.num_classes' "$CVRUN" info model=yolox_nano
expect 2 'how large are the pictures? Set data.img_size' "$CVRUN" info model=resnet18 model.num_classes=10
expect 0 "" "$CVRUN" info model=resnet18 model.num_classes=10 imgsz=64
expect 0 'multiples of 32, so that pictures are padded to 96 x 96' "$CVRUN" info model=yolox_nano data.format=scenes data.fields=boxes data.train_size=4 data.val_size=2 \
  imgsz=70 batch=2 augment.preset=none

# data of every layout; the task decides which of two it is
printf '[run]\ntask = detect\n[data]\nformat = scenes\nfields = boxes\ntrain_size = 6\nval_size = 2\nobjects = 1,2\nimg_size = 64\n[model]\nname = fcos_resnet50_fpn\n' >scenes.ini
expect 0 "" "$CVRUN" pack scenes.ini out=coco as=coco
expect 0 "" "$CVRUN" pack scenes.ini out=yolo as=yolo
expect 0 "" "$CVRUN" pack scenes.ini out=classes as=folder run.task=classify data.fields=label model.name=resnet18
net=(model=fcos_resnet50_fpn)
guess() { # PATH SETTING...
  expect 0 "the data is read as $2" "$CVRUN" cfg data="$1" "${net[@]}"; shift 2
  has "$@"
}
guess coco coco 'format = coco guessed from data.root' "root = $work/coco command line" 'val_split = 0 default'
guess yolo/data.yaml yolo "annotations = $work/yolo/data.yaml guessed from data.root" "root = $work/yolo guessed from data.root"
guess coco/annotations/instances_train.json coco 'val_split = 0.1 guessed from data.root'
printf 'classes = 10\ntrain = images/train\nnames = obj.names\n' >yolo/obj.data
guess yolo/obj.data yolo 'val_split = 0.1 guessed from data.root'
rm yolo/obj.data yolo/data.yaml; mkdir -p voc/JPEGImages voc/Annotations flat
guess yolo yolo 'val_split = 0 default'
rm -r yolo/images/val yolo/labels/val; guess yolo yolo 'val_split = 0.1 guessed from data.root'
mkdir -p seg/images seg/masks
guess voc voc 'annotations = boxes guessed from data.root' 'val_split = 0.1 guessed from data.root'
cp yolo/images/train/* yolo/labels/train/* flat; guess flat yolo 'val_split = 0.1 guessed from data.root'
expect 0 "" "$CVRUN" cfg data=coco data.val=coco/val data.val_annotations=x.json "${net[@]}"
net=(model=maskrcnn_resnet50_fpn); for format in coco yolo; do guess $format $format 'masks = yes guessed from data.root'; done
expect 2 "data.root = $work/voc: nobody knows this for data of task detect" "$CVRUN" cfg data=voc "${net[@]}"
net=(model=fcos_resnet50_fpn)
expect 2 "data.root = $work/classes: nobody knows this for data of task detect" "$CVRUN" cfg data=classes "${net[@]}"
expect 2 "data.root = $work/none: no such folder or file" "$CVRUN" cfg data=none "${net[@]}"
net=(model=resnet18); guess classes folder 'task = classify default'
net=(model=fcn_resnet50); guess seg masks 'task = segment model fcn_resnet50' 'val_split = 0.1 guessed from data.root'

# and trained on; the recipe that is printed does the same
small=(model=fcos_resnet50_fpn model.body=resnet18 model.norm=batch model.width=8 model.fpn_channels=32 imgsz=64 epochs=1 batch=3 workers=0 lr=0.001)
expect 0 "" "$CVRUN" train data=coco "${small[@]}"
grep -q '^format = coco$' out.txt || { cat out.txt; fail "the recipe is not printed"; }
awk '/ parameters, input / {exit} {print}' out.txt >printed.ini
expect 0 "" "$CVRUN" train printed.ini
same runs/detect/fcos_resnet50_fpn/weights/last.safetensors runs/detect/fcos_resnet50_fpn-2/weights/last.safetensors
grep -q 'map50' runs/detect/fcos_resnet50_fpn/results.csv || fail "nothing was validated"
done_with proposals_test
