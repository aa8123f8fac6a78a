#!/usr/bin/env bash
# Models by name: torchvision's numbers of parameters, keys of [model], and U-Net on masks from the first step to a prediction.
. "$(dirname "$0")/lib.sh"

# model NAME SETTINGS...: a recipe of one model on made-up pictures
model() {
  local name=$1; shift
  { printf '[run]\nname = m\n[model]\nname = %s\n' "$name"
    printf '[data]\nformat = fake\nsize = 6\nclasses = 1000\nworkers = 0\n[train]\nbatch = 2\nepochs = 1\n[val]\ninterval = 0\n'; } >m.ini
}

# what torchvision's pages say: 1000 classes
while read -r name size params; do
  model "$name"
  "$CVRUN" info m.ini "data.img_size=$size" >info.txt 2>err.txt || { cat err.txt >&2; fail "info of $name"; }
  grep -qF "$params" info.txt || { cat info.txt >&2; fail "$name does not have $params parameters"; }
  checks=$((checks + 1))
done <<'LIST'
resnet18 64 11,689,512
resnet50 64 25,557,032
mobilenet_v2 64 3,504,872
convnext_tiny 64 28,589,128
vit_b_16 224 86,567,656
LIST

# keys of a model, and what it cannot take
model convnext_tiny
expect 0 "" "$CVRUN" train m.ini data.img_size=16 data.classes=3 model.width=4 model.layers=1,1 model.drop_path=0.5 name=a
expect 0 "" "$CVRUN" train m.ini data.img_size=16 data.classes=3 model.width=4 model.layers=1,1 model.drop_path=0.5 name=b backend.threads=1
same runs/classify/a/weights/last.safetensors runs/classify/b/weights/last.safetensors
expect 0 "" "$CVRUN" train m.ini data.img_size=16 data.classes=3 model.width=4 model.layers=1,1 model.drop_path=0 name=c
! cmp -s runs/classify/a/weights/last.safetensors runs/classify/c/weights/last.safetensors || fail "drop_path does nothing"
expect 2 "drop_path" "$CVRUN" train m.ini model.drop_paths=0.5
expect 0 "" "$CVRUN" predict runs/classify/a source=runs/classify/a/results.png predict.out=q
model vit_b_16
expect 2 "model.patch_size" "$CVRUN" train m.ini data.img_size=20
expect 2 "does not divide model.hidden_dim" "$CVRUN" train m.ini data.img_size=32 model.num_heads=7
# auxiliary classifiers: a loss each, by the model's weight, unless the recipe has one
model googlenet
small=(data.img_size=48 data.classes=3 model.width_mult=0.05 model.dropout=0 model.dropout_aux=0 epochs=1)
expect 0 "" "$CVRUN" train m.ini "${small[@]}" name=usual
head -n 1 runs/classify/usual/steps.csv | grep -q "aux1.*aux2" || fail "steps.csv lacks the auxiliary losses"
expect 0 "" "$CVRUN" train m.ini "${small[@]}" name=same train.aux_weight=0.3
same runs/classify/usual/weights/last.safetensors runs/classify/same/weights/last.safetensors
expect 0 "" "$CVRUN" train m.ini "${small[@]}" name=other train.aux_weight=0.4
! cmp -s runs/classify/usual/weights/last.safetensors runs/classify/other/weights/last.safetensors || fail "aux_weight does nothing"
model inception_v3
expect 2 "model.aux_logits = no" "$CVRUN" train m.ini data.img_size=96 model.width_mult=0.05
expect 0 "" "$CVRUN" train m.ini data.img_size=75 data.classes=3 model.width_mult=0.05 model.aux_logits=no
# windows: sides that are no multiples of them, another size in validation, and threads that make no difference
model swin_t
swin=(train m.ini data.classes=3 model.embed_dim=8 model.depths=2,2 model.num_heads=2,4 model.window_size=3 data.img_size=44 epochs=1)
expect 0 "" "$CVRUN" "${swin[@]}" name=swin
expect 0 "" "$CVRUN" "${swin[@]}" name=swin1 backend.threads=1
same runs/classify/swin/weights/last.safetensors runs/classify/swin1/weights/last.safetensors
expect 0 "" "$CVRUN" "${swin[@]}" name=swin_bf16 backend.precision=bf16
expect 0 "" "$CVRUN" predict runs/classify/swin source=runs/classify/swin/results.png predict.out=swin_out
expect 2 "model.num_heads has 4 numbers" "$CVRUN" train m.ini model.depths=2,2
expect 2 "do not divide" "$CVRUN" train m.ini model.embed_dim=50
model deit_tiny_distilled_patch16_224
deit=(train m.ini data.img_size=16 data.classes=3 model.patch_size=4 model.embed_dim=12 model.depth=2 epochs=1)
expect 0 "" "$CVRUN" "${deit[@]}" name=mean
expect 0 "" "$CVRUN" "${deit[@]}" name=taught model.distilled_training=yes
head -n 1 runs/classify/taught/steps.csv | grep -q distilled || fail "the distilled head has no loss of its own"
expect 2 "does not divide model.embed_dim" "$CVRUN" "${deit[@]}" name=no model.num_heads=5
model unet
# pictures whose sides are no multiples of 16 are padded
expect 0 "" "$CVRUN" train m.ini run.task=segment data.masks=yes data.classes=3 data.img_size=24 epochs=1 name=padded

# U-Net on masks
unet=(train m.ini run.task=segment data.masks=yes data.classes=3 data.img_size=16 model.width=4 model.depth=2 val.interval=1)
expect 0 "" "$CVRUN" "${unet[@]}" name=two epochs=2
head -n 1 runs/segment/two/results.csv | grep -q "loss.*pixel_accuracy.*miou" || fail "results.csv lacks a metric"
grep -q '"metric": "miou"' runs/segment/two/summary.json || fail "the best epoch is not chosen by miou"
expect 0 "" "$CVRUN" "${unet[@]}" name=one epochs=1
expect 0 "" "$CVRUN" train --resume runs/segment/one epochs=2
same runs/segment/one/weights/last.safetensors runs/segment/two/weights/last.safetensors
expect 0 "" "$CVRUN" predict runs/segment/two source=runs/segment/two/results.png predict.out=p
grep -q '"classes": \[{"index": ' p/predictions.json || fail "predictions.json lacks the classes' shares"

for file in runs/segment/two/{per_class,worst,val_batch0}.png p/results_{mask,overlay}.png; do
  [ -s "$file" ] || fail "there is no $file"
done
expect 0 "" "$CVRUN" predict runs/segment/two source=runs/segment/two/results.png predict.out=p2 predict.save=no
[ ! -e p2/results_overlay.png ] || fail "predict.save=no writes an overlay"
# how pictures were looked at stands beside the numbers
grep -q '"protocol": "centre crop of 16, shorter side 16"' runs/segment/two/summary.json || fail "summary.json lacks the protocol"
views=(val.protocol=original val.resize_size=12 val.crop_size=8 val.stride=5 val.flip=yes val.scales=1,1.5)
expect 0 "" "$CVRUN" val runs/segment/two "${views[@]}"
grep -q "measured on: original size, shorter side 12, windows of 8 every 5 pixels, mirrored too, scales 1 1.5" out.txt || fail "val lacks the protocol"
expect 0 "" "$CVRUN" val --json runs/segment/two val.protocol=resized
grep -q '"protocol": "resized, shorter side 16".*"per_class": \[{"name".*"absent_classes": {"accuracy"' out.txt || fail "val --json lacks classes"
expect 0 "" "$CVRUN" "${unet[@]}" name=views epochs=2 val.protocol=original val.resize_size=12 val.flip=yes
[ -s runs/segment/views/weights/best.safetensors ] || fail "no best weights by views"
expect 2 "val.metric = loss: task segment has no such metric" "$CVRUN" "${unet[@]}" name=no val.flip=yes val.metric=loss
expect 2 "val.flip: task classify" "$CVRUN" val runs/classify/a val.flip=yes

# predictions.csv of a task: the header, a row a picture, or of masks a row a class, and that its numbers are shares or
# probabilities
table() { # FOLDER RUN SHARE
  python3 - "$1/predictions.csv" "$2/results.png" "$2/classes.txt" "$3" <<'PY' || { cat "$1/predictions.csv" >&2; fail "$1/predictions.csv"; }
import csv, struct, sys

path, picture, classes, share = sys.argv[1:]
size = struct.unpack(">II", open(picture, "rb").read(24)[16:])
names = open(classes).read().split("\n")[:-1]
rows = list(csv.DictReader(open(path, newline="")))
masks = share == "share"
assert len(rows) == (len(names) if masks else 1), len(rows)
for row in rows:
    assert None not in row and None not in row.values(), "a row has more or fewer cells than the header"
    assert list(row)[:5] == ["file", "width", "height", "index", "name"] and share in row, list(row)
    assert row["file"].endswith("/" + picture) and (int(row["width"]), int(row["height"])) == size, row
    assert names[int(row["index"])] == row["name"] and 0 <= float(row[share]) <= 1, row
assert not masks or abs(sum(float(row[share]) for row in rows) - 1) < 1e-4, rows
PY
  checks=$((checks + 1))
}
table p runs/segment/two share
table q runs/classify/a prob
printf '[augment]\nrandom_horizontal_flip = p=1\n' >>m.ini
expect 0 "" "$CVRUN" "${unet[@]}" name=flip # a mask moves with its picture
model unet
expect 1 'it has no `mask`, which this task needs' "$CVRUN" "${unet[@]}" name=none data.masks=no
done_with models_cli_test
