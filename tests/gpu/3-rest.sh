#!/usr/bin/env bash
# Losses beside the CPU's, repetition and resume to the bit, a move to the CPU and back, the speed of other networks, and of Vulkan on the
# same card. Options are in gpu.sh.
# shellcheck source-path=SCRIPTDIR source=gpu.sh
. "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

steps=60
speeds='vgg16:classify:64:224 vit_b_16:classify:64:224 unet:segment:16:256 ssd300_vgg16:detect:32:300'
resnet=resnet50 inference=256:224
[ -z "$dry" ] || { steps=6 speeds='resnet18_cifar:classify:2:8' resnet=resnet18_cifar inference=2:8; }

# A small network with all that a run has: batch norm, dropout, augmentation, momentum.
small() {
  cat >"$1.ini" <<INI
[run]
name = $1
seed = 7
[data]
format = fake
size = $((16 * steps))
classes = 5
img_size = 24
[augment]
random_horizontal_flip = p=0.5
[net]
c1 = conv2d 16 kernel_size=3 padding=1 bias=no
b1 = batch_norm2d
r1 = relu
c2 = conv2d 32 kernel_size=3 padding=1 stride=2 bias=no
b2 = batch_norm2d
r2 = relu
f = flatten
d = dropout 0.2
fc = linear num_classes
[train]
epochs = 1
batch = 16
[optim]
name = sgd
lr = 0.02
momentum = 0.9
INI
}

# train NAME [option...]: into runs/classify/NAME
train() {
  local name=$1; shift
  small "$name"
  limited 100 "$CVRUN" train "$name.ini" "$@"
}

weights_of() { echo "runs/classify/$1/weights/last.safetensors"; }

# Losses of both, step by step; rounding grows, so that later ones may be further apart.
losses() {
  train device "backend.name=$backend" "backend.precision=$1" && train host backend.name=cpu || return
  paste -d, runs/classify/host/steps.csv runs/classify/device/steps.csv | awk -F, -v precision="$1" '
    NR > 1 {
      d = $3 - $9; if (d < 0) d = -d
      bound = (precision == "f32" ? 1e-4 : 3e-2) * (1 + NR / 10) * (1 + $3)
      if (d > most) most = d
      if (!(d <= bound)) {printf "step %d: the CPU has a loss of %s, the device of %s\n", NR - 1, $3, $9; bad = 1; exit}
    }
    END {if (bad) exit 1; if (NR < 3) {print "no steps"; exit 1}; printf "%d steps in %s; losses are at most %.3g apart\n", NR - 1, precision, most}'
}

# Two runs, and one that was interrupted and went on: the same bits.
repeats() {
  local half=$((steps / 2)) status=0
  train once "backend.name=$backend" "backend.precision=$1" run.save_every='2 steps' && train twice "backend.name=$backend" "backend.precision=$1" run.save_every='2 steps' || return
  cmp "$(weights_of once)" "$(weights_of twice)" || { echo 'a second run has other weights'; return 1; }
  small third
  # ends itself by SIGTERM, as soon as half of the steps are there
  timeout --kill-after=5 100 "$CVRUN" train third.ini "backend.name=$backend" "backend.precision=$1" run.save_every='2 steps' &
  local run=$!
  while kill -0 $run 2>/dev/null && [ "$(wc -l <runs/classify/third/steps.csv 2>/dev/null || echo 0)" -le "$half" ]; do sleep 0.05; done
  kill -TERM $run 2>/dev/null # which `timeout` passes on
  wait $run || status=$?
  [ $status -eq 75 ] || [ $status -eq 0 ] || { echo "the interrupted run has status $status"; return 1; }
  [ $status -eq 0 ] || limited 100 "$CVRUN" train --resume runs/classify/third || return
  cmp "$(weights_of once)" "$(weights_of third)" || { echo 'the run that went on has other weights'; return 1; }
  echo "$1: the same bits when repeated, and when $([ $status -eq 75 ] && echo resumed || echo 'repeated again, as it was over before it could be stopped')"
}

swaps() {
  local third=$((steps / 3))
  train moved backend.name=cpu --swap-to "$backend@$third" --swap-to "cpu@$((2 * third))" >swap.txt 2>&1 || { cat swap.txt; return 1; }
  cat swap.txt
  train stayed backend.name=cpu >/dev/null || return
  paste -d, runs/classify/stayed/steps.csv runs/classify/moved/steps.csv | awk -F, '
    NR > 1 {d = $3 - $9; if (d < 0) d = -d; if (d > most) most = d; n++}
    END {printf "cpu, then the device, then cpu: %d steps, losses at most %.3g from those of the CPU alone\n", n, most; exit !(n > 2 && most < 0.05)}'
}

vulkan() {
  limited 100 "$CVRUN" plugins -v >plugins.txt
  if ! grep -E '^ *device +vulkan/0 ' plugins.txt | grep -vq cannot; then
    echo 'no device for Vulkan'
    return 77
  fi
  (backend=vulkan && bench vulkan "$resnet" classify "${inference%:*}" "${inference#*:}" f32)
}

for precision in f32 bf16 f16; do
  [ -z "$dry" ] || [ $precision = f32 ] || continue
  step "losses-$precision" losses $precision
  step "repeats-$precision" repeats $precision
done
step swap swaps
for speed in $speeds; do
  IFS=: read -r model task batch size <<<"$speed"
  for precision in f16 f32; do
    [ -z "$dry" ] || [ $precision = f32 ] || continue
    step "$model-$precision" bench "$model" "$model" "$task" "$batch" "$size" $precision
  done
done
for precision in f16 f32; do
  [ -z "$dry" ] || [ $precision = f32 ] || continue
  step "inference-$precision" bench inference "$resnet" classify "${inference%:*}" "${inference#*:}" $precision --inference
done
step vulkan vulkan
finish
