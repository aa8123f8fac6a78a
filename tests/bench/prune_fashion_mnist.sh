#!/usr/bin/env bash
# ResNet-18 (CIFAR stem) on Fashion-MNIST at half of its products: within half a point after training further, and at most 0.65
# of the time. One training, one pruning; some hours on two cores. Exit status 1: a goal was missed.
#
#   tests/bench/prune_fashion_mnist.sh build/bin/cvrun DATA [EPOCHS [EPOCHS_AFTER]] [key=value ...]
#
# DATA is the folder with Fashion-MNIST's four idx files; further settings go to both commands: backend.name=cuda.
set -euo pipefail
cvrun=$(realpath "$1") data=$(realpath "$2") epochs=6 after=3
shift 2
if [[ ${1:-} =~ ^[0-9]+$ ]]; then epochs=$1; shift; fi
if [[ ${1:-} =~ ^[0-9]+$ ]]; then after=$1; shift; fi
work=$(mktemp -d)
echo "in $work"
cd "$work"
cat >resnet18.ini <<INI
[run]
name = resnet18
seed = 1
[data]
format = idx
root = $data
mean = 0.286
std = 0.353
[model]
name = resnet18_cifar
[augment]
random_horizontal_flip = p=0.5
random_crop = 28 padding=2
[train]
epochs = $epochs
batch = 128
[optim]
name = sgd
lr = 0.1
momentum = 0.9
weight_decay = 5e-4
[sched]
name = cosine
warmup_epochs = 1
INI
"$cvrun" train resnet18.ini "$@"
"$cvrun" prune runs/classify/resnet18 target=macs:0.5 prune.epochs="$after" "$@" | tee table.txt
folder=$(tail -1 table.txt)
python3 - "$folder/compress.json" <<'PY'
import json, sys
c = json.load(open(sys.argv[1]))
b, a = c["before"], c["after"]
lost = 100 * (b["metrics"]["top1"] - a["metrics"]["top1"])
one, many = a["ms_batch1"] / b["ms_batch1"], a["ms_batch32"] / b["ms_batch32"]
print(f"products {a['macs'] / b['macs']:.3f}, {lost:+.2f} points lost, time {one:.3f} at batch 1, {many:.3f} at batch 32")
good = lost <= 0.5 and many <= 0.65
print("as wanted" if good else "not as wanted: at most 0.5 points and 0.65 of the time at batch 32")
sys.exit(not good)
PY
