#!/usr/bin/env bash
# Detectors and the losses of segmentation train on `emu`, nothing left to the host, and follow the CPU: a few steps at a few pixels.
. "$(dirname "$0")/lib.sh"

# follows STEPS.CSV OTHER: every loss within a thousandth of the other one, or of a hundredth
cat >follows.awk <<'AWK'
FNR == NR { for (i = 3; i <= NF; i++) want[FNR, i] = $i; lines = FNR; next }
FNR == 1 { for (i = 3; i <= NF; i++) losses[i] = $i ~ /^loss/; next }
{ for (i = 3; i <= NF; i++)
    if (losses[i]) {
      far = $i - want[FNR, i]; far = far < 0 ? -far : far
      if (!(far <= 0.001 * (want[FNR, i] + 0.01))) { print "line " FNR ", column " i ": " $i " instead of " want[FNR, i]; bad = 1 }
      n++
    } }
END { if (FNR != lines || n == 0) { print FNR " lines of " lines ", " n " losses"; bad = 1 } exit bad }
AWK
# both RECIPE TASK NAME key=value...: on cpu and on emu
both() {
  local recipe=$1 task=$2 name=$3; shift 3
  "$CVRUN" train "$recipe" name=$name-cpu backend.name=cpu "$@" >log.txt 2>&1 || { tail -n 5 log.txt; fail "$name on cpu"; }
  "$CVRUN" train "$recipe" name=$name-emu backend.name=emu backend.fallback=error "$@" >log.txt 2>&1 || { tail -n 5 log.txt; fail "$name on emu"; }
  awk -F, -f follows.awk runs/$task/$name-cpu/steps.csv runs/$task/$name-emu/steps.csv >far.txt || { cat far.txt; fail "$name on emu is not what it is on cpu"; }
  checks=$((checks + 1))
}

cat >detect.ini <<'INI'
[run]
task = detect
[data]
format = scenes
fields = instances
train_size = 4
val_size = 2
img_size = 64
objects = 1,3
item_scale = 0.5,1
workers = 0
[model]
name = retinanet_resnet50_fpn
[train]
batch = 2
epochs = 1
[optim]
name = sgd
lr = 0.001
INI
body="model.body=resnet18 model.norm=batch model.width=4 model.fpn_channels=8"
rcnn="$body model.layers=1,1,1,1 model.representation_size=8 model.box_detections_per_img=5 model.rpn_post_nms_top_n_train=40 model.rpn_post_nms_top_n_test=20"
both detect.ini detect retinanet $body
both detect.ini detect fcos model.name=fcos_resnet50_fpn model.head_groups=4 $body
both detect.ini detect ssdlite model.name=ssdlite320_mobilenet_v3_large model.width_mult=0.25
# small steps: what a cell costs decides which one learns, so that cpu and reference, too, are soon apart
both detect.ini detect yolox model.name=yolox_nano data.train_size=6 train.batch=3 optim.lr=0.00001
both detect.ini detect faster model.name=fasterrcnn_resnet50_fpn $rcnn
both detect.ini detect mask model.name=maskrcnn_resnet50_fpn $rcnn

cp "$here/../../apps/recipes/yolov3-tiny-scenes.ini" "$here/../../apps/recipes/yolov3-tiny-scenes.cfg" .
sed -i 's/^width=.*/width=64/; s/^height=.*/height=64/; s/^batch=.*/batch=2/; s/^subdivisions=.*/subdivisions=1/' yolov3-tiny-scenes.cfg
both yolov3-tiny-scenes.ini detect yolov3-tiny data.train_size=4 data.val_size=2 data.img_size=64 data.workers=0 train.epochs=1 train.batch=2 backend.precision=f32

cat >segment.ini <<'INI'
[run]
task = segment
[data]
format = fake
masks = yes
classes = 4
img_size = 16
size = 8
workers = 0
[net]
c1 = conv2d 6 kernel_size=3 padding=1
b1 = batch_norm2d
r1 = relu
c2 = conv2d num_classes kernel_size=1
[train]
batch = 4
epochs = 2
[optim]
lr = 0.05
INI
for loss in dice jaccard 'tversky(alpha=0.3 beta=0.7)' focal sigmoid_focal lovasz 'ohem(min_kept=100)' 'dice(log_loss=yes) + lovasz'; do
  both segment.ini segment "$(tr -dc a-z <<<"$loss")" train.loss="$loss" train.class_weights=1,2,0.5,1
done
done_with emu_detect_nets_test
