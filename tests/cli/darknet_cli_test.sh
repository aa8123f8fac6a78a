#!/usr/bin/env bash
# Darknet's files on the command line: what a .cfg proposes, training and prediction from one, .weights converted both ways.
. "$(dirname "$0")/lib.sh"
golden=$here/../golden/darknet
cp "$golden"/yolov3.cfg "$golden"/yolov3.weights "$golden"/yolov4.cfg "$golden"/classifier.cfg "$golden"/yolov2.weights .

printf '[data]\nformat = scenes\nfields = boxes\ntrain_size = 4\nval_size = 2\n[model]\nname = yolov3.cfg\n' >r.ini
expect 0 "" "$CVRUN" cfg r.ini
has 'task = detect model darknet' 'img_size = 64 model darknet' 'fit = letterbox_center model darknet' 'batch = 4 model darknet' \
  'max_batches = 1000 model darknet' 'lr = 0.001 model darknet' 'momentum = 0.9 model darknet' 'weight_decay = 0.0005 model darknet' \
  'norm_weight_decay = 0 model darknet' 'bias_weight_decay = 0 model darknet' 'name = steps model darknet' 'steps = 800,900 model darknet' \
  'scales = 0.1,0.1 model darknet' 'warmup_steps = 100 model darknet' 'warmup = quartic model darknet' \
  'random_jitter_crop = jitter=0.3 model darknet' 'random_hsv_scale = hue=0.1 saturation=1.5 exposure=1.5 model darknet' \
  'random_horizontal_flip = 0.5 model darknet' 'multi_scale = 32,80,16 model darknet'
expect 0 "" "$CVRUN" cfg r.ini model.name=yolov4.cfg
has 'fit = stretch model darknet' 'mosaic = model darknet' 'warmup_steps = 10 model darknet'
expect 0 "" "$CVRUN" cfg model=classifier.cfg data.format=fake
has 'task = classify model darknet' 'img_size = 32 model darknet'

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
done_with darknet_cli_test
