#!/usr/bin/env bash
# Detectors and the losses of segmentation train on `emu`, nothing left to the host, and follow the CPU: a few steps at a few pixels.
device=emu on=()
. "$(dirname "$0")/detect_nets.sh"

for net in "${detectors[@]}"; do detector "$net"; done

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
