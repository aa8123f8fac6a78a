#!/usr/bin/env bash
# What a teacher brings where labels are few: ResNet-8 with 8 channels learns from 2,000 pictures of Fashion-MNIST, alone and
# under a ResNet-18 that has learned from all 60,000; three seeds each, as a table. Stopped and called again it goes on. Exit
# status 1: less than half a point was gained.
#   tests/bench/distill_gain.sh [FOLDER] [pictures=2000] [epochs=60] [teach="distill.T=2 distill.alpha=0.5"]
#                               [teacher="model.name=resnet18 optim.lr=0.05"] [teacher_epochs=6]
# On two busy cores (Zen 4) nine minutes for the teacher and about ten for the students.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cvrun=$(realpath "${CVRUN:-$here/build/bin/cvrun}")
folder=build/distill_gain pictures=2000 epochs=60 teach="distill.T=2 distill.alpha=0.5"
teacher="model.name=resnet18 optim.lr=0.05" teacher_epochs=6
for word; do
  case $word in
    pictures=* | epochs=* | teach=* | teacher=* | teacher_epochs=*) declare "$word" ;;
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
# data.limit is of both splits: all 10,000 pictures are looked at here
top1() {
  [ -f "$1.json" ] || { "$cvrun" val "runs/classify/$1" data.limit=0 --json >"$1.part" 2>>"$1.log" && mv "$1.part" "$1.json"; }
  sed -n 's/.*"top1": \([0-9.]*\).*/\1/p' "$1.json" | head -n 1
}

train teacher $teacher train.epochs="$teacher_epochs" val.interval="$teacher_epochs" backend.precision=bf16
student=(model.name=resnet_cifar model.depth=8 model.width=8 data.limit="$pictures" train.epochs="$epochs" val.interval="$epochs")
for seed in 1 2 3; do
  train "alone-$seed" "${student[@]}" seed=$seed
  train "taught-$seed" "${student[@]}" seed=$seed distill.teacher=runs/classify/teacher distill.precision=bf16 $teach
done
{
  echo "teacher: $teacher, 60,000 pictures, $(top1 teacher); students: $pictures pictures; $teach"
  printf '%-6s %10s %14s\n' seed alone "under teacher"
  for seed in 1 2 3; do printf '%-6s %10s %14s\n' $seed "$(top1 alone-$seed)" "$(top1 taught-$seed)"; done
  for seed in 1 2 3; do echo "$(top1 alone-$seed) $(top1 taught-$seed)"; done |
    awk '{ a += $1; b += $2 } END { printf "mean   %10.4f %14.4f\ngain   %.2f points\n", a / NR, b / NR, 100 * (b - a) / NR }'
} | tee table.txt
awk '$1 == "gain" { exit $2 < 0.5 }' table.txt
