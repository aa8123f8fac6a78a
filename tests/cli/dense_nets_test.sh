#!/usr/bin/env bash
# Networks with a class for each pixel, from the command line: auxiliary losses, the weights of a backbone, what is frozen, sizes.
. "$(dirname "$0")/lib.sh"

# model NAME KEY=VALUE...: a recipe for such a network on 8 pictures with masks
model() {
  local name=$1; shift
  printf '[run]\nseed = 7\n[model]\nname = %s\n' "$name" >m.ini
  printf '%s\n' "$@" >>m.ini
  printf '[data]\nformat = fake\nsize = 8\nclasses = 3\nimg_size = 33\n[train]\nepochs = 1\nbatch = 4\n[val]\ninterval = 0\n[optim]\nlr = 0.01\n' >>m.ini
}
dense=(run.task=segment data.masks=yes)
weights() { echo "runs/$1/$2/weights/last.safetensors"; }

# tensors EXPRESSION: of two files of weights a and b, and whether all of it holds
cat >tensors.py <<'PY'
import json, struct, sys
def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    return {k: raw[8 + n:][slice(*t["data_offsets"])] for k, t in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}
a, b = read(sys.argv[1]), read(sys.argv[2])
changed = {k for k in b if k in a and a[k] != b[k]}
assert eval(sys.argv[3]), sorted(changed)
PY
tensors() { python3 tensors.py "$1" "$2" "$3" || fail "$1 and $2: $3"; checks=$((checks + 1)); }

# auxiliary heads: a loss each, with the weight that the reference gives it, unless the recipe has one
narrow=(layers=1,1,1,1 width=2)
model fcn_resnet50 "${narrow[@]}"
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" name=usual
head -n 1 runs/segment/usual/steps.csv | grep -q aux || fail "steps.csv lacks the auxiliary loss"
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" name=alone model.aux_loss=no
tensors "$(weights segment usual)" "$(weights segment alone)" '{k for k in a if k not in b} == {k for k in a if k.startswith("aux_classifier.")}'
model pspnet_resnet50 "${narrow[@]}" bins=1,2
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" name=psp
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" name=psp4 train.aux_weight=0.4 backend.threads=1
same "$(weights segment psp)" "$(weights segment psp4)"

# stages: what is frozen stays, the rest does not
freeze() { expect 0 "" "$CVRUN" train m.ini "${dense[@]}" "model.weights=$(weights segment psp)" "model.freeze=$1" name=frozen epochs=1; mv runs/segment/frozen "runs/segment/$2"; }
freeze backbone f1
tensors "$(weights segment psp)" "$(weights segment f1)" 'changed and all(k.startswith(("ppm.", "cls.", "aux.")) for k in changed) and "cls.4.weight" in changed'
freeze head f2
tensors "$(weights segment psp)" "$(weights segment f2)" 'changed and not any(k.startswith(("ppm.", "cls.", "aux.")) for k in changed)'
freeze backbone.layer3 f3
tensors "$(weights segment psp)" "$(weights segment f3)" 'not any(k.startswith("layer3") for k in changed) and "layer4.0.conv2.weight" in changed and "layer0.0.weight" in changed'

# other classes: the head is new, and the rest of what was trained stays
expect 0 "made new           4" "$CVRUN" train m.ini "${dense[@]}" "model.weights=$(weights segment psp)" data.classes=5 name=five epochs=0
tensors "$(weights segment psp)" "$(weights segment five)" 'changed == {"cls.4.weight", "cls.4.bias", "aux.4.weight", "aux.4.bias"}'

# a classifier's file is a backbone, and what stands on it is new, unless the recipe wants the file's head: CLASSIFIER NETWORK PREFIX-THERE PREFIX-HERE KEY=VALUE...
backbone() {
  local classifier=$1 network=$2 there=$3 here=$4; shift 4
  model "$classifier" "$@"
  expect 0 "" "$CVRUN" train m.ini name="$classifier" epochs=0
  model "$network" "$@"
  expect 1 "to take its backbone alone set model.head = new" "$CVRUN" train m.ini "${dense[@]}" "model.weights=$(weights classify "$classifier")" model.head=keep
  expect 0 "another implementation's names" "$CVRUN" train m.ini "${dense[@]}" "model.weights=$(weights classify "$classifier")" epochs=0 name="$network"
  tensors "$(weights classify "$classifier")" "$(weights segment "$network")" \
    "(lambda t: len(t) > 40 and all(a[k] == v for k, v in t.items()))({k.replace('$here', '$there', 1).replace('low_level_', '').replace('high_level_', ''): v for k, v in b.items() if k.startswith('$here')})"
}
backbone resnet50 deeplabv3_resnet50 "" backbone. "${narrow[@]}"
backbone resnet34 unet_resnet34 "" encoder. "${narrow[@]}"
backbone mobilenet_v3_large lraspp_mobilenet_v3_large features. backbone. width_mult=0.1
backbone mobilenet_v2 deeplabv3plus_mobilenet_v2 "" backbone. width_mult=0.1

# published weights are known by name, those of the backbone too
printf x >lraspp_mobilenet_v3_large-d234d4ea.pth
expect 0 "the name of lraspp_mobilenet_v3_large's COCO_WITH_VOC_LABELS_V1, but another SHA-256" \
  "$CVRUN" cfg m.ini "${dense[@]}" model.name=lraspp_mobilenet_v3_large model.weights=lraspp_mobilenet_v3_large-d234d4ea.pth
expect 1 "get it from https://download.pytorch.org/models/resnet50-0676ba61.pth" "$CVRUN" cfg m.ini "${dense[@]}" model.name=deeplabv3_resnet50 model.weights=IMAGENET1K_V1 model.weights_path=here

# sizes, and numbers that cannot be
model deeplabv3plus_resnet50 "${narrow[@]}"
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" imgsz=37 name=plus
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" model.output_stride=8 name=plus8
expect 2 "output_stride" "$CVRUN" train m.ini "${dense[@]}" model.output_stride=4
expect 2 "model.atrous_rates has 2 numbers; the pyramid has three" "$CVRUN" train m.ini "${dense[@]}" model.atrous_rates=1,2
expect 2 "model.layers has 2 numbers; this network has four stages" "$CVRUN" train m.ini "${dense[@]}" model.layers=1,1
model pspnet_resnet50 "${narrow[@]}"
model unet_resnet50 "${narrow[@]}"
expect 0 "" "$CVRUN" train m.ini "${dense[@]}" imgsz=45 name=odd
expect 2 "model.decoder_channels has 2 numbers; the decoder has five blocks" "$CVRUN" train m.ini "${dense[@]}" model.decoder_channels=8,4
model pspnet_resnet50 "${narrow[@]}"
expect 2 "pictures of 40x40; the sides that PSPNet takes are 8 k + 1, as 41x41: set the crop of [augment], data.img_size and val.crop_size" "$CVRUN" train m.ini "${dense[@]}" imgsz=40
expect 2 "model.bins is empty" "$CVRUN" train m.ini "${dense[@]}" model.bins=
done_with dense_nets_test
