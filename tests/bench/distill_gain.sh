#!/usr/bin/env bash
# What a teacher brings: a small residual network on Fashion-MNIST alone, and under a ResNet-18, three seeds each, as a
# table. Stopped and called again it goes on.
#   tests/bench/distill_gain.sh [FOLDER] [pictures=20000] [teacher_epochs=8] [epochs=12] [teach="distill.method=dkd distill.beta=2"]
# A core (Zen 5) takes 14 ms a picture for a teacher's step, 4 for its answer and 0.3 for the student's step, so two take some 50 minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cvrun=$(realpath "${CVRUN:-$here/build/bin/cvrun}")
folder=build/distill_gain pictures=20000 teacher_epochs=8 epochs=12 teach="distill.method=dkd distill.beta=2"
for word; do
  case $word in
    pictures=* | teacher_epochs=* | epochs=* | teach=*) declare "$word" ;;
    *) folder=$word ;;
  esac
done
mkdir -p "$folder"
cd "$folder"
cat >common.ini <<INI
[run]
task = classify
project = runs
[data]
format = idx
root = /usr/share/datasets/fashion-mnist
names = T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot
mean = 0.286
std = 0.353
limit = $pictures
[augment]
random_horizontal_flip = p=0.5
random_crop = 28 padding=2
[train]
batch = 128
[optim]
name = sgd
lr = 0.1
momentum = 0.9
nesterov = yes
weight_decay = 5e-4
[sched]
name = cosine
warmup_epochs = 1
INI
# the last epoch alone is measured
train() { # NAME SETTINGS...
  local run=runs/classify/$1
  [ -f "$run/summary.json" ] && grep -q '"top1"' "$run/summary.json" && return 0
  echo "== $1"
  if [ -f "$run/config.ini" ] && [ -f "$run/classes.txt" ]; then
    "$cvrun" train --resume "$run" >>"$1.log" 2>&1
  else
    rm -rf "$run"
    "$cvrun" train common.ini run.name="$1" "${@:2}" >"$1.log" 2>&1
  fi
}
top1() { sed -n 's/.*"top1": \([0-9.]*\).*/\1/p' "runs/classify/$1/summary.json" | head -n 1; }

train teacher model.name=resnet18 model.stem=cifar train.epochs="$teacher_epochs" val.interval="$teacher_epochs" backend.precision=bf16
student=(model.name=resnet_cifar model.depth=8 model.width=8 train.epochs="$epochs" val.interval="$epochs")
for seed in 1 2 3; do
  train "alone-$seed" "${student[@]}" seed=$seed
  train "taught-$seed" "${student[@]}" seed=$seed distill.teacher=runs/classify/teacher distill.precision=bf16 $teach
done
{
  echo "teacher ResNet-18: $(top1 teacher); $teach"
  printf '%-6s %10s %14s\n' seed alone "under teacher"
  for seed in 1 2 3; do printf '%-6s %10s %14s\n' $seed "$(top1 alone-$seed)" "$(top1 taught-$seed)"; done
  for seed in 1 2 3; do echo "$(top1 alone-$seed) $(top1 taught-$seed)"; done |
    awk '{ a += $1; b += $2 } END { printf "mean   %10.4f %14.4f\ngain   %.2f points\n", a / NR, b / NR, 100 * (b - a) / NR }'
} | tee table.txt
