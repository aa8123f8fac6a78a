#!/usr/bin/env bash
# train.memory: activations that are computed twice give the same weights, to the bit, in less memory, on every backend.
. "$(dirname "$0")/lib.sh"
cat >net.ini <<'INI'
[run]
seed = 3
[data]
format = fake
size = 40
classes = 3
img_size = 32
[model]
name = resnet18_cifar
[train]
epochs = 1
batch = 16
[val]
interval = 0
[optim]
name = sgd
lr = 0.01
momentum = 0.9
INI
planned() { "$CVRUN" info "$@" --json 2>/dev/null | grep -o '"planned_memory_bytes": [0-9]*' | grep -o '[0-9]*$'; }
whole=$(planned net.ini)
# the refusal names the least that is possible, and so much is enough
expect 2 "this step needs at least" "$CVRUN" info net.ini train.memory=1M
for share in 95 90; do
  less=$((whole * share / 100))
  [ "$(planned net.ini train.memory=$less)" -le $less ] || fail "the plan is larger than train.memory=$less"
  checks=$((checks + 1))
done
expect 2 "train.memory = lots: not an amount of memory" "$CVRUN" info net.ini train.memory=lots
for backend in cpu reference; do
  limit=$([ $backend = cpu ] && echo 40 || echo 4) size=$([ $backend = cpu ] && echo 32 || echo 16)
  for precision in f32 bf16; do
    [ $backend-$precision = reference-bf16 ] && continue # the same program in f32, between casts
    "$CVRUN" train net.ini run.name=all-$backend-$precision backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) >log.txt 2>&1 || { cat log.txt >&2; fail "train on $backend"; }
    least=$("$CVRUN" info net.ini backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) train.memory=1K 2>&1 | grep -o 'at least [0-9]*M' | cut -d' ' -f3 || true)
    "$CVRUN" train net.ini run.name=less-$backend-$precision backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) train.memory=$least >log.txt 2>&1 || { cat log.txt >&2; fail "train with $least on $backend"; }
    grep -q "activations are computed twice" log.txt || fail "nothing was computed twice on $backend in $precision"
    same runs/classify/all-$backend-$precision/weights/last.safetensors runs/classify/less-$backend-$precision/weights/last.safetensors
  done
done
done_with memory_test
