#!/usr/bin/env bash
# Training of segmentation: sums of losses and their names, transforms that move masks along, a batch norm that sees one value, and that
# all of it is the same bits for any number of threads and after a resume.
. "$(dirname "$0")/lib.sh"

cat >s.ini <<'INI'
[run]
task = segment
[data]
format = fake
masks = yes
classes = 4
img_size = 24
size = 12
workers = 1
[augment]
scale_jitter = scale_range=0.5,2
random_rotation = degrees=10 mask_fill=255 p=0.5
random_crop = 16 pad_if_needed=yes mask_fill=255 cat_max_ratio=0.75
random_horizontal_flip =
random_photometric_distort =
gaussian_blur = 5 p=0.5
[net]
c1 = conv2d 6 kernel_size=3 padding=1
b1 = batch_norm2d
r1 = relu
c2 = conv2d num_classes kernel_size=1
[train]
epochs = 2
batch = 4
[val]
interval = 1
[optim]
lr = 0.1
[sched]
name = poly
INI
same() { cmp -s "$1/weights/last.safetensors" "$2/weights/last.safetensors" || fail "$1 and $2 differ"; checks=$((checks + 1)); }
run() { expect 0 "" "$CVRUN" train s.ini "$@"; }
columns() { head -n 1 "runs/segment/$1/steps.csv" | grep -q "^step,epoch,$2,lr," || { head -n 1 "runs/segment/$1/steps.csv"; fail "$1 lacks $2"; }; checks=$((checks + 1)); }

# one loss is "loss" alone, by any way to write it; it falls with the step, not with the epoch
run name=plain
run name=named train.loss=cross_entropy
run name=other train.loss=dice
columns plain loss
same runs/segment/plain runs/segment/named
cmp -s runs/segment/plain/weights/last.safetensors runs/segment/other/weights/last.safetensors && fail "train.loss does nothing"
[ "$(cut -d, -f4 runs/segment/plain/steps.csv | sort -u | wc -l)" = 7 ] || fail "poly does not fall step by step"

# several have names, and the sum is what is trained
sum='cross_entropy + 0.5 * dice(smooth=1) + 2*tversky(alpha=0.3 beta=0.7) + 0.25*lovasz'
run name=sum train.loss="$sum" train.class_weights=1,2,0.5,1
columns sum loss,loss_cross_entropy,loss_dice,loss_tversky,loss_lovasz
head -n 1 runs/segment/sum/results.csv | grep -q ',loss,loss_cross_entropy,loss_dice,loss_tversky,loss_lovasz,' || fail "validation lacks the losses"
awk -F, 'NR > 1 { d = $3 - $4 - $5 - $6 - $7; if (d > 1e-5 || d < -1e-5) exit 1 }' runs/segment/sum/steps.csv || fail "the losses do not add up"
run name=sum3 train.loss="$sum" train.class_weights=1,2,0.5,1 backend.threads=3 data.workers=3
same runs/segment/sum runs/segment/sum3
run name=first train.loss="$sum" train.class_weights=1,2,0.5,1 epochs=1 sched.name=constant
run name=both train.loss="$sum" train.class_weights=1,2,0.5,1 sched.name=constant
expect 0 "" "$CVRUN" train --resume runs/segment/first epochs=2
same runs/segment/first runs/segment/both
run name=rest train.loss='jaccard + focal + 0.5*sigmoid_focal(alpha=-1) + ohem(min_kept=64)'
columns rest loss,loss_jaccard,loss_focal,loss_sigmoid_focal,loss_ohem
expect 0 "" "$CVRUN" val runs/segment/rest
checks=$((checks + 3))

# a network with an auxiliary head: its losses count train.aux_weight and have names of their own; the head's learning rate reaches it, too
cat >aux.ini <<'INI'
[run]
task = segment
[data]
format = fake
masks = yes
classes = 3
img_size = 32
size = 2
[model]
name = deeplabv3_mobilenet_v3_large
width_mult = 0.25
aspp_channels = 8
[train]
epochs = 1
batch = 2
[optim]
lr = 0.1
INI
aux() { expect 0 "" "$CVRUN" train aux.ini "$@"; }
aux name=aux train.loss=cross_entropy+dice
columns aux loss,loss_aux_cross_entropy,loss_cross_entropy,loss_aux_dice,loss_dice
aux name=heavy train.loss=cross_entropy+dice train.aux_weight=1
paste -d, <(sed -n 2p runs/segment/aux/steps.csv) <(sed -n 2p runs/segment/heavy/steps.csv) >both.csv
awk -F, '{ r = $(NF / 2 + 4) / $4; exit !(r > 1.9999 && r < 2.0001 && $5 == $(NF / 2 + 5)) }' both.csv || { cat both.csv; fail "aux_weight does not weigh"; }
aux name=still optim.head_lr_mult=0 optim.backbone_lr_mult=0
aux name=heads optim.backbone_lr_mult=0
aux name=trunk optim.head_lr_mult=0
moved() { # RUN PREFIX yes|no: whether the parameters of that name moved
  python3 - "runs/segment/still/weights/last.safetensors" "runs/segment/$1/weights/last.safetensors" "$2" "$3" <<'PY' || fail "$1: $2 moved: not $3"
import json, struct, sys


def read(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__"}


a, b = read(sys.argv[1]), read(sys.argv[2])
names = [k for k in a if k.startswith(sys.argv[3]) and k.endswith("weight")]
assert names
assert all((a[k] != b[k]) == (sys.argv[4] == "yes") for k in names), [k for k in names if a[k] == b[k]]
PY
  checks=$((checks + 1))
}
for part in classifier. aux_classifier.; do moved heads $part yes; moved trunk $part no; done
moved heads backbone. no

# what cannot be meant
expect 2 'train.loss: dice stands there twice' "$CVRUN" train s.ini train.loss='dice+dice'
expect 2 'train.loss: `dice(` has no closing bracket' "$CVRUN" train s.ini train.loss='dice(smooth=1'
expect 2 'train.loss: a weight is a number above 0' "$CVRUN" train s.ini train.loss='0*dice'
expect 2 'train.loss: a loss'"'"'s name is missing' "$CVRUN" train s.ini train.loss='dice+'
expect 2 'train.loss: `+` is missing at `jaccard`' "$CVRUN" train s.ini train.loss='dice jaccard'
expect 2 'train.loss: there is no layer `aaaaaaaa' "$CVRUN" train s.ini train.loss="$(printf 'a%.0s' {1..100})"
expect 2 'train.loss: the settings of dice are too long' "$CVRUN" train s.ini train.loss="dice($(printf 'a%.0s' {1..300}))"
expect 2 'train.loss: more than 8 losses' "$CVRUN" train s.ini train.loss='a+b+c+d+e+f+g+h+i'
expect 2 'train.loss: there is no layer `dyce`; did you mean `dice`?' "$CVRUN" train s.ini train.loss=dyce
expect 2 'dice has no setting `smoth`' "$CVRUN" train s.ini train.loss='dice(smoth=1)'
expect 2 'has no setting `ignore_index`' "$CVRUN" train s.ini train.loss=mse
expect 2 'max_size = 20 must be greater than min_size = 20' "$CVRUN" train s.ini augment.random_resize='20 20'

# a batch norm of pooled pixels, of one picture: before the first step, also of the epoch's last batch
cat >one.ini <<'INI'
[data]
format = fake
classes = 3
img_size = 8
size = 5
[net]
p = adaptive_avg_pool2d 1
b = batch_norm2d
f = flatten
o = linear num_classes
[train]
epochs = 1
batch = 4
INI
expect 2 'layer b (batch_norm2d): batch_norm2d: training needs more than one value per channel, but pictures * height * width is 1' "$CVRUN" train one.ini batch=1
expect 2 'use a batch of 2 or more (train.batch / train.grad_accum)' "$CVRUN" train one.ini train.grad_accum=4
expect 2 'the last batch of an epoch has 1 picture' "$CVRUN" train one.ini
expect 2 'set data.drop_last=yes' "$CVRUN" train one.ini
[ ! -e runs/classify/one/steps.csv ] || fail "a step was made"
expect 0 "" "$CVRUN" train one.ini data.drop_last=yes
# a recipe that cannot be is no bad file
expect 2 "mixup: it does not know what becomes of mask" "$CVRUN" train s.ini augment.mixup=
grep -q on_error err.txt && fail "on_error helps against a recipe"

# no loss keeps it to itself that the network's numbers are none; predictions of several views do not either
for loss in "jaccard(log_loss=yes)" "tversky(gamma=1.5)"; do
  expect 1 "the loss is not a number at step" "$CVRUN" train s.ini name=broken "train.loss=$loss" optim.lr=1e30
done
python3 - runs/segment/plain/weights/last.safetensors <<'PY'
import json, struct, sys
b = bytearray(open(sys.argv[1], "rb").read())
n = struct.unpack("<Q", b[:8])[0]
at = 8 + n + json.loads(b[8:8 + n])["c2.bias"]["data_offsets"][0]
b[at:at + 4] = struct.pack("<f", float("nan"))
open("nan.safetensors", "wb").write(b)
PY
expect 1 "the network's output is not finite" "$CVRUN" predict runs/segment/plain weights=nan.safetensors val.flip=yes source=runs/segment/plain/results.png

done_with segment_train_test
