#!/usr/bin/env bash
# Darknet's files on the command line: what a .cfg proposes, training and prediction from one, .weights converted both ways.
. "$(dirname "$0")/lib.sh"
golden=$here/../golden/darknet
cp "$golden"/yolov3.cfg "$golden"/yolov3.weights "$golden"/yolov4.cfg "$golden"/classifier.cfg "$golden"/yolov2.weights .

printf '[data]\nformat = scenes\nfields = boxes\ntrain_size = 4\nval_size = 2\n[model]\nname = yolov3.cfg\n' >r.ini
expect 0 "" "$CVRUN" cfg r.ini
has 'task = detect model darknet' 'img_size = 64 model darknet' 'fit = letterbox_aligned model darknet' 'batch = 4 model darknet' \
  'max_batches = 1000 model darknet' 'lr = 0.001 model darknet' 'momentum = 0.9 model darknet' 'weight_decay = 0.0005 model darknet' \
  'norm_weight_decay = 0 model darknet' 'bias_weight_decay = 0 model darknet' 'name = steps model darknet' 'steps = 800,900 model darknet' \
  'scales = 0.1,0.1 model darknet' 'warmup_steps = 100 model darknet' 'warmup = quartic model darknet' \
  'random_jitter_crop = jitter=0.3 model darknet' 'random_hsv_scale = hue=0.1 saturation=1.5 exposure=1.5 model darknet' \
  'random_horizontal_flip = 0.5 model darknet' 'multi_scale = 64,128,32 model darknet'
expect 0 "" "$CVRUN" cfg r.ini model.name=yolov4.cfg
has 'fit = stretch model darknet' 'mosaic = p=0.5 degrees=0 translate=0 scale=0.5,0.5 shear=0 model darknet' 'warmup_steps = 10 model darknet'
expect 0 "" "$CVRUN" cfg model=classifier.cfg data.format=fake
has 'task = classify model darknet' 'img_size = 32 model darknet' 'random_resize = min_size=32 max_size=65 model darknet' 'random_crop = 32 model darknet'

# net KEY=VALUE...: v.cfg, yolov3.cfg with these lines at the end of [net], in place of those with the same keys
net() {
  local lines keys
  lines=$(printf '%s\\n' "$@")
  keys=$(printf '%s\n' "$@" | sed 's/=.*//' | paste -s -d '|' | sed 's/|/\\|/g')
  sed -e "/^\($keys\)=/d" -e "0,/^\[convolutional\]/s//$lines[convolutional]/" "$golden/yolov3.cfg" >v.cfg
  expect 0 "" "$CVRUN" cfg r.ini model.name=v.cfg
}
# each policy is a scheduler that means the same, or is named; so is every other key that has no effect, once
net flip=0 adam=1 B1=0.8 eps=0.001
! grep -q random_horizontal_flip out.txt || fail "mirrored although flip=0"
has 'name = adam model darknet' 'betas = 0.8,0.999 model darknet' 'eps = 0.001 model darknet'
[ ! -s err.txt ] || { cat err.txt >&2; fail "something was named"; }
net policy=sgdr learning_rate_min=0.0002
has 'name = cosine model darknet' 'lr_min = 0.0002 model darknet'
net policy=step step=300 scale=.5
has 'steps = 300,600,900 model darknet' 'scales = 0.5 model darknet'
net steps=-1,800 scales=.1,10
has 'steps = 0,800 model darknet' 'scales = 0.1,10 model darknet'
net policy=exp gamma=0.99 blur=1 angle=7 cutmix=0 random=0 ema_alpha=0.9998
has 'name = constant default'
line=$(grep -n '^policy=exp' v.cfg | cut -d: -f1)
[ "$(grep -c 'has no effect here' err.txt)" -eq 1 ] || fail "not named in one line"
grep -qF "v.cfg:$line: \`policy=exp\` has no effect here, nor has \`gamma=0.99\` (line $((line + 1))), nor has \`blur=1\` (line $((line + 2))), nor has \`angle=7\` (line $((line + 3))), nor has \`ema_alpha=0.9998\` (line $((line + 6)))" err.txt ||
  { cat err.txt >&2; fail "not every key was named with its line"; }
net policy=sgdr sgdr_cycle=10
grep -q 'v.cfg:.*`policy=sgdr` has no effect' err.txt || fail "cycles were not named"
sed 's/^policy=.*/policy=often/' v.cfg >w.cfg
expect 1 "policy=often: known are constant, steps" "$CVRUN" cfg r.ini model.name=w.cfg

# of two lines the first counts, as in Darknet, and the other is named; a byte order mark is none of the file
{ printf '\xef\xbb\xbf'; sed 's/^learning_rate=.*/&\nlearning_rate=7/' "$golden/yolov3.cfg"; } >v.cfg
expect 0 "" "$CVRUN" cfg r.ini model.name=v.cfg
has 'lr = 0.001 model darknet'
grep -q '`learning_rate=7` has no effect here' err.txt || fail "the second of two lines was not named"
sed '0,/^\[convolutional\]/s//[softmax]\n&/' "$golden/classifier.cfg" >w.cfg
expect 1 "[softmax] is followed by other layers" "$CVRUN" cfg model=w.cfg data.format=fake

# both ways: the same bytes after the header, and the same names
expect 0 "" "$CVRUN" convert yolov3.weights a.safetensors cfg=yolov3.cfg
expect 0 "" "$CVRUN" convert a.safetensors again.weights
same <(tail -c +21 yolov3.weights) <(tail -c +21 again.weights)
expect 0 "" "$CVRUN" convert again.weights b.safetensors cfg=yolov3.cfg
same a.safetensors b.safetensors
expect 2 "a .weights file has no names, so that the network must be known; give cfg=FILE.cfg" "$CVRUN" convert yolov3.weights c.safetensors
expect 1 "yolov2.weights: has" "$CVRUN" convert yolov2.weights c.safetensors cfg=yolov3.cfg
expect 1 "none.cfg: is not there" "$CVRUN" convert yolov3.weights c.safetensors cfg=none.cfg
expect 2 "no model is built from files with such a name" "$CVRUN" convert yolov3.weights c.safetensors cfg=r.ini
expect 1 "is no tensor of a .weights file" "$CVRUN" convert "$golden/../cvrun.safetensors" c.weights
sed -i 's/^filters=4$/filters=1000000000/' yolov3.cfg
expect 1 "yolov3.cfg:44: filters=1000000000: must be a number from 1 to 65536" "$CVRUN" convert yolov3.weights c.safetensors cfg=yolov3.cfg
cp "$golden/yolov3.cfg" .

# a file of the first layers
head -c 6524 yolov3.weights >part.weights
python3 -c 'import struct, zlib; c = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)); open("p.png", "wb").write(b"\x89PNG\r\n\x1a\n" + c(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + c(b"IDAT", zlib.compress((b"\0" + b"\x50" * 192) * 64)) + c(b"IEND", b""))'
net=(model=yolov3.cfg weights=part.weights model.num_classes=3 source=p.png)
expect 1 "the file has the first 5 of 10 layers with weights; model.strict = no" "$CVRUN" predict "${net[@]}"
expect 0 "the file has the first 5 of 10 layers" "$CVRUN" predict "${net[@]}" model.strict=no
[ "$(grep -c 'first 5 of 10' err.txt)" -eq 1 ] || fail "said more than once"

# trained from .weights with other classes, in sizes; its own weights predict the same as .weights
expect 0 "made new" "$CVRUN" train r.ini epochs=2 model.weights=yolov3.weights run.name=t workers=0
run=runs/detect/t
grep -q '^step,epoch,.*loss_box.*loss_objectness' "$run/steps.csv" || grep -q 'loss_box' "$run/results.csv" || fail "no named losses"
expect 0 "" "$CVRUN" convert "$run/weights/last.safetensors" last.weights
expect 0 "" "$CVRUN" predict "$run" source="$run/results.png" model.weights="$run/weights/last.safetensors" predict.raw=yes predict.out=p1
expect 0 "" "$CVRUN" predict "$run" source="$run/results.png" model.weights=last.weights predict.raw=yes predict.out=p2
same p1/raw.safetensors p2/raw.safetensors
# as integers: the first convolution reads the picture itself; its heads are exported although no result is made of them
expect 0 "" "$CVRUN" quantize "$run" pictures=4
expect 0 "" "$CVRUN" export "$run-quantized" decode=no out=heads.onnx
grep -aq head1 heads.onnx && ! grep -aq NonMaxSuppression heads.onnx || fail "not the heads"
rm -r "$run-quantized"
# hostile or mistaken: one line each
cp "$golden/classifier.weights" .
mkfifo pipe.cfg
ln -s nowhere link.safetensors
head -c $((13940 - 24 * 4)) yolov3.weights >shifted.weights
of=(weights=yolov3.weights source=p.png)
expect 2 "num_classes is 1000000000; it may be at most 65536" "$CVRUN" predict model=yolov3.cfg model.num_classes=1000000000 "${of[@]}"
expect 2 'data.names has two classes `a`; rename one of them' "$CVRUN" predict model=yolov3.cfg data.names=a,a,b "${of[@]}"
expect 2 "data.names has a class without a name" "$CVRUN" predict model=yolov3.cfg data.names=,, "${of[@]}"
expect 1 "pipe.cfg: is not a regular file" "$CVRUN" predict model=pipe.cfg data.names=a,b,c "${of[@]}"
expect 1 "of which 9 would fit; the file is cut" "$CVRUN" predict model=yolov3.cfg data.names=a,b,c weights=shifted.weights source=p.png
{ head -c 92 yolov3.weights; printf '\0\0\200\277'; tail -c +97 yolov3.weights; } >negative.weights # -1 among the first variances
expect 1 'has a variance of -1 in `backbone.0.bn.running_var`; the file is damaged' "$CVRUN" predict model=yolov3.cfg data.names=a,b,c weights=negative.weights source=p.png
expect 2 "model.cfg = yolov4.cfg, but model.name is another file, yolov3.cfg" "$CVRUN" predict model=yolov3.cfg model.cfg=yolov4.cfg data.names=a,b,c "${of[@]}"
expect 2 'run.task = detect, and the network `darknet` is for another task' "$CVRUN" predict model=classifier.cfg weights=classifier.weights run.task=detect data.names=a,b,c source=p.png
expect 1 'a.safetensors: has another shape for the tensor `backbone.0.conv.weight` of classifier.cfg' "$CVRUN" convert a.safetensors c.weights cfg=classifier.cfg
expect 2 "link.safetensors: is there already" "$CVRUN" convert yolov3.weights link.safetensors cfg=yolov3.cfg
expect 2 "train.memory = 1G: this step needs at least" "$CVRUN" train r.ini train.multi_scale=32,16384,16352 augment.mosaic= train.memory=1G

# the run is whole by itself: its .cfg is a copy, whatever becomes of the other one, and the folder may move
same yolov3.cfg "$run/network.cfg"
grep -q '^cfg = network.cfg$' "$run/config.ini" || fail "the copy is not named by a relative path"
sed -i 's/^activation=leaky/activation=linear/' yolov3.cfg
expect 0 "" "$CVRUN" predict "$run" source="$run/results.png" predict.raw=yes predict.out=p3
mkdir elsewhere && mv "$run" elsewhere/t && rm yolov3.cfg && run=elsewhere/t
expect 0 "" "$CVRUN" predict "$run" source="$run/results.png" predict.raw=yes predict.out=p4
same p3/raw.safetensors p4/raw.safetensors
expect 0 "" "$CVRUN" val "$run" workers=0
# it goes on for longer by train.max_batches, or by another file, of which what differs counts
expect 0 "" "$CVRUN" train --resume "$run" train.max_batches=3 workers=0
[ "$(tail -n 1 "$run/results.csv" | cut -d, -f1)" -eq 3 ] || fail "not three epochs of a batch"
sed 's/^max_batches *=.*/max_batches=4/; s/^learning_rate *=.*/learning_rate=0.002/' "$run/network.cfg" >longer.cfg
expect 0 "optim.lr = 0.002 from now on" "$CVRUN" train --resume "$run" model.cfg=longer.cfg workers=0
[ "$(tail -n 1 "$run/results.csv" | cut -d, -f1)" -eq 4 ] || fail "not four epochs"
same longer.cfg "$run/network.cfg"
grep -q '^lr = 0.002$' "$run/config.ini" || fail "the new file's rate was not recorded"
expect 0 "" "$CVRUN" train --resume "$run"
grep -q 'another train.max_batches extends it' out.txt || fail "it is not said how to extend it"

# what has no losses here is measured without
cp "$golden"/yolov2.cfg .
expect 0 "" "$CVRUN" val r.ini model.name=yolov2.cfg workers=0
grep -q '^map ' out.txt || { cat out.txt >&2; fail "no mAP"; }
! grep -q loss out.txt || fail "a loss of nothing"

# pictures that are no squares: what Debian's darknet finds in them (tests/parity/darknet.py)
python3 - "$golden/letterbox.txt" <<'PY'
import struct, sys, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def byte(number, y, x, c):
    n = (((number * 64 + y // 8) * 64 + x // 8) * 3 + c + 1) * 2654435761 % 2**32
    n = (n ^ n >> 15) * 2246822519 % 2**32
    return n >> 24
for p, (h, w) in enumerate([(300, 400), (100, 72), (51, 97), (60, 90), (64, 64)]):
    rows = b"".join(b"\0" + bytes(byte(p, y, x, c) for x in range(w) for c in range(3)) for y in range(h))
    open(f"l{p}.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
PY
cp "$golden/yolov3.cfg" .
for p in 0 1 2 3; do
  expect 0 "" "$CVRUN" predict model=yolov3.cfg weights=yolov3.weights source=l$p.png predict.conf=0 predict.save=no predict.out=l$p
done
# pictures of the network's own size share a batch with them
mkdir mixed && cp l2.png l4.png mixed/ && echo '2 0.5 0.5 0.5 0.5' | tee mixed/l2.txt >mixed/l4.txt
expect 0 "" "$CVRUN" val model=yolov3.cfg weights=yolov3.weights data.format=yolo data.val=mixed data.root=mixed data.names=a,b,c batch=2
python3 - "$golden/letterbox.txt" <<'PY' || fail "not what darknet finds"
import json, sys
sizes = [(400, 300), (72, 100), (97, 51), (90, 60)]
have = [json.load(open(f"l{p}/predictions.json"))[0]["boxes"] for p in range(4)]
rows = [line.split() for line in open(sys.argv[1])]
assert len(rows) == 240
off = [0, 0]
def held(x, side):  # darknet's boxes end at the last pixel
    return min(max(x, 0), side - 1)
for p, k, score, *box in rows:
    w, h = sizes[int(p)]
    near = [(max(abs(held(a, m) - held(float(b), m)) for a, b, m in zip(d["xyxy"], box, (w, h, w, h))), abs(d["score"] - float(score))) for d in have[int(p)] if d["index"] == int(k)]
    best = min(near, key=lambda x: x[0] + 100 * x[1])
    off = [max(a, b) for a, b in zip(off, best)]
print("off by", off, "pixels and score")
assert off[0] < 0.02 and off[1] < 1e-4, off
PY
done_with darknet_cli_test
