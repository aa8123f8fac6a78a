#!/usr/bin/env bash
# Transfer from the command line: what thaws by epoch, rates that fall from layer to layer, a probe, and published weights by name.
. "$(dirname "$0")/lib.sh"

cat >r18.ini <<'INI'
[run]
name = r18
[model]
name = resnet18_cifar
width = 4
[data]
format = fake
size = 24
classes = 3
img_size = 16
[train]
epochs = 3
batch = 10
[optim]
name = adamw
lr = 0.01
INI
# trained NAME key=value...: a run of this name
trained() { local name=$1; shift; "$CVRUN" train r18.ini "name=$name" "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "$name: $*"; }; }
weights() { echo "runs/classify/$1/weights/last.safetensors"; }

# what thaws before the first step was never frozen; phases change the outcome, and a run that is cut in two goes on with them
trained plain
trained at-once model.freeze=backbone model.unfreeze=1:all
same "$(weights plain)" "$(weights at-once)"
thaw='2:backbone.layer4, 3:all'
trained phases model.freeze=backbone "model.unfreeze=$thaw" train.ema=yes train.ema_decay=0.9
grep -q 'epoch 2: backbone.layer4 is trained from now on' log.txt || fail "nothing was said of what thaws"
cmp -s "$(weights plain)" "$(weights phases)" && fail "phases change nothing"
trained halves model.freeze=backbone "model.unfreeze=$thaw" epochs=2
expect 0 "" "$CVRUN" train --resume runs/classify/halves epochs=3
trained whole model.freeze=backbone "model.unfreeze=$thaw"
same "$(weights whole)" "$(weights halves)"
trained far model.freeze=backbone "model.unfreeze=$thaw" backend.name=far
same "$(weights whole)" "$(weights far)"

# a run that began with a new head is evaluated with the head that it trained
trained first model.name=resnet18 epochs=1
trained new-head model.name=resnet18 "model.weights=$(weights first)" model.head=new epochs=2
"$CVRUN" val runs/classify/new-head >val.txt 2>&1 || { cat val.txt; fail "val of a run with a new head"; }
python3 - <<'PY' || { cat val.txt; fail "val of a run with a new head has another loss than its best epoch"; }
import csv, re
rows = list(csv.DictReader(open("runs/classify/new-head/results.csv")))
best = max(rows, key=lambda r: float(r["top1"]))
said = float(re.search(r"^loss +([0-9.]+)", open("val.txt").read(), re.M)[1])
raise SystemExit(abs(said - float(best["loss"])) > 1e-4)
PY

# running means that a short run never moves are told of, with a decay that would do
trained slow train.ema=yes
grep -q '100 % of the running means' log.txt || { cat log.txt >&2; fail "means that stay where they began"; }
decay=$(sed -n 's/.*train.ema_decay = \([0-9.]*\) it is 1 %.*/\1/p' log.txt)
trained fast train.ema=yes train.ema_steps=1 "train.ema_decay=$decay"
! grep -q 'running means' log.txt || { cat log.txt >&2; fail "ema_decay=$decay does not do"; }
expect 2 'write EPOCH:PATTERN' "$CVRUN" train r18.ini model.freeze=backbone model.unfreeze=backbone
expect 2 'write EPOCH:PATTERN' "$CVRUN" train r18.ini model.freeze=backbone model.unfreeze=3:all,2:fc
expect 2 '`hed` fits no parameter' "$CVRUN" train r18.ini model.freeze=backbone model.unfreeze=2:hed
expect 2 'nothing is frozen' "$CVRUN" train r18.ini model.unfreeze=2:all
"$CVRUN" train r18.ini model.freeze=backbone model.unfreeze=90:all epochs=1 name=late >late.log 2>&1 || fail "a phase after the last epoch"
grep -q 'epoch 90 is after the last' late.log || fail "a phase after the last epoch is not told of"

# one optimizer's step of Adam after a thaw is its first, as in a run that begins there: the rate's own size, whatever came before
cat >first.py <<'PY'
import json, struct, sys
def read(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    t = json.loads(b[8:8 + n])["conv1.weight"]
    s, e = t["data_offsets"]
    return struct.unpack("<%df" % ((e - s) // 4), b[8 + n + s:8 + n + e])
a, b = read(sys.argv[1]), read(sys.argv[2])
step = max(abs(x - y) for x, y in zip(a, b))
assert 0.009 < step < 0.0102, step
PY
trained before model.freeze=backbone epochs=2 optim.weight_decay=0
trained after model.freeze=backbone model.unfreeze=3:all epochs=3 optim.weight_decay=0 batch=24
trained start model.freeze=backbone epochs=2 optim.weight_decay=0 batch=24
python3 first.py "$(weights start)" "$(weights after)" || fail "the first step after a thaw"
checks=$((checks + 1))

# a rate for every layer is the rule for each of them
trained decayed optim.layer_decay=0.5 epochs=1
rules=conv1:0.001953125,bn1:0.001953125
l=8; for stage in 1 2 3 4; do for block in 0 1; do
  rules+=,layer$stage.$block:$(awk -v n=$l 'BEGIN {printf "%.17g", 0.5 ^ n}'); l=$((l - 1))
done; done
trained ruled "optim.param_lr_mult=$rules" epochs=1
same "$(weights decayed)" "$(weights ruled)"
cmp -s "$(weights decayed)" "$(weights plain)" && fail "layer_decay changes nothing"
sed -e '/^name = resnet/d' -e '/^width/d' r18.ini >net.ini
printf '[net]\nf = flatten\nfc = linear num_classes\n' >>net.ini
expect 2 'optim.layer_decay needs a model by name' "$CVRUN" train net.ini optim.layer_decay=0.5

# a probe is training with a frozen backbone, to the bit where the order is the same; it goes on where it was
trained frozen model.freeze=backbone data.shuffle=no
trained probe probe.enabled=yes data.shuffle=no
same "$(weights frozen)" "$(weights probe)"
trained probe-far probe.enabled=yes data.shuffle=no backend.name=far
same "$(weights frozen)" "$(weights probe-far)"
trained shuffled probe.enabled=yes
trained cut probe.enabled=yes epochs=1
expect 0 "" "$CVRUN" train --resume runs/classify/cut epochs=3
same "$(weights shuffled)" "$(weights cut)"
expect 0 "" "$CVRUN" val runs/classify/probe
expect 2 'leave out model.freeze' "$CVRUN" train r18.ini probe.enabled=yes model.freeze=fc
expect 2 'needs a model by name that has a stage `head`' "$CVRUN" train net.ini probe.enabled=yes
printf '[augment]\nrandom_horizontal_flip = p=0.5\n' | cat r18.ini - >flip.ini
expect 2 'leave out [augment]' "$CVRUN" train flip.ini probe.enabled=yes

# published weights: by name, from a folder, whole
cat >photos.ini <<'INI'
[model]
name = mobilenet_v2
weights = IMAGENET1K_V1
num_classes = 1000
weights_path = here
[data]
format = folder
INI
export TORCH_HOME=$PWD/torch HF_HOME=$PWD/hub
expect 1 'get it from https://download.pytorch.org/models/mobilenet_v2-b0353104.pth (SHA-256 b0353104...)' "$CVRUN" cfg photos.ini
grep -qF "Looked in $PWD/here, $PWD/torch/hub/checkpoints" err.txt || { cat err.txt >&2; fail "where it looked"; }
mkdir -p torch/hub/checkpoints; printf x >torch/hub/checkpoints/mobilenet_v2-b0353104.pth
expect 1 'its SHA-256 begins with 2d711642' "$CVRUN" cfg photos.ini
expect 0 "has the name of mobilenet_v2's IMAGENET1K_V1, but another SHA-256" "$CVRUN" cfg photos.ini model.weights=torch/hub/checkpoints/mobilenet_v2-b0353104.pth
grep -q 'mean *= 0 *default' out.txt || { cat out.txt >&2; fail "another file under a published name"; }
expect 1 'get it from https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth' "$CVRUN" cfg photos.ini run.task=detect model.name=ssdlite320_mobilenet_v3_large model.weights=COCO_V1
expect 2 'mobilenet_v2 has no weights of this name, but IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT' "$CVRUN" cfg photos.ini model.weights=IMAGENET1K_V7
expect 2 'no weights are known by name for the model `resnet18_cifar`' "$CVRUN" train r18.ini model.weights=DEFAULT
# timm keeps the same weights under a name of its own, which says nothing of their sum
mkdir -p hub/hub/models--timm--resnet18.tv_in1k/snapshots/1
"$CVRUN" convert "$(weights plain)" hub/hub/models--timm--resnet18.tv_in1k/snapshots/1/model.safetensors >/dev/null
expect 0 "" "$CVRUN" cfg photos.ini model.name=resnet18
grep -q 'weights *= .*tv_in1k/snapshots/1/model.safetensors *the weights' out.txt || { cat out.txt >&2; fail "timm's folder"; }
grep -q 'resize_size *= 256 *the weights' out.txt && grep -q 'mean *= imagenet *the weights' out.txt || fail "what goes with the weights"
expect 0 "" "$CVRUN" cfg photos.ini model.name=resnet18 imgsz=96 data.mean=0.5
grep -q 'resize_size *= -1 *default' out.txt && grep -q 'mean *= 0.5 *command line' out.txt || { cat out.txt >&2; fail "the recipe's own settings"; }
# a model and its weights are enough to predict; whatever reads data says what is missing
printf '[model]\nname = resnet18_cifar\nwidth = 4\nnum_classes = 3\nweights = %s\n' "$(weights plain)" >two.ini
expect 0 "" "$CVRUN" pack r18.ini out=photos as=folder
expect 0 "" "$CVRUN" predict two.ini source=photos/val imgsz=16
grep -q 'predictions are in' out.txt || fail "nothing was predicted without data.format"
# a run looks at data of another format, and goes on with another scheduler: what it has recorded of the former is left aside
expect 0 "" "$CVRUN" val runs/classify/plain data.format=folder data.root=photos
expect 0 "" "$CVRUN" train --resume runs/classify/halves epochs=4 sched.name=plateau
expect 1 'put back optim.name' "$CVRUN" train --resume runs/classify/halves epochs=5 optim.name=lion
expect 2 'unknown key `size`' "$CVRUN" val runs/classify/plain data.format=folder data.root=photos data.size=3
# ... and a probe that leaves out a bad picture goes on in mid-epoch from the checkpoint before the last
echo broken >"$(ls -d photos/train/*/* | head -n 1)"
sed 's/^format = .*/format = folder\nroot = photos\non_error = skip/; /^size = /d; /^classes = /d' r18.ini >folder.ini
"$CVRUN" train folder.ini name=skips probe.enabled=yes batch=4 epochs=1 'run.save_every=4 steps' >log.txt 2>&1 || { cat log.txt; fail "a probe with a bad picture"; }
cp "$(weights skips)" whole.safetensors
mv runs/classify/skips/weights/last.state.1 runs/classify/skips/weights/last.state
expect 0 '' "$CVRUN" train --resume runs/classify/skips
grep -q 'going on after step 4' out.txt || { cat out.txt >&2; fail "where the probe goes on"; }
same whole.safetensors "$(weights skips)"
for command in train val check 'pack out=packed'; do
  expect 2 'two.ini: [data] needs `format`' "$CVRUN" ${command%% *} two.ini $(expr "$command" : '[a-z]* *\(.*\)')
done
done_with transfer_cli_test
