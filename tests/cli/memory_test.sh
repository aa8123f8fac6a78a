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
# a transformer: layer norms, gelu, sums and dropout are what is cheap there
vit=(net.ini model.name=vit_b_16 model.patch_size=4 model.num_layers=4 model.num_heads=2 model.hidden_dim=64 model.mlp_dim=256 model.dropout=0.1 data.limit=32 train.batch=16 backend.name=cpu)
for precision in f32 bf16; do
  whole=$(planned "${vit[@]}" backend.precision=$precision)
  least=$("$CVRUN" info "${vit[@]}" backend.precision=$precision train.memory=1K 2>&1 | grep -o 'at least [0-9]*M' | grep -o '[0-9]*' || true)
  [ $((least * 1000000 * 10)) -lt $((whole * 9)) ] || fail "a transformer in $precision needs ${least}M, of $whole bytes without a limit"
  checks=$((checks + 1))
  "$CVRUN" train "${vit[@]}" backend.precision=$precision run.name=vit-all-$precision >log.txt 2>&1 || { cat log.txt >&2; fail "train a transformer"; }
  "$CVRUN" train "${vit[@]}" backend.precision=$precision run.name=vit-less-$precision train.memory=${least}M >log.txt 2>&1 || { cat log.txt >&2; fail "train a transformer with ${least}M"; }
  grep -q "activations are computed twice" log.txt || fail "nothing of a transformer was computed twice in $precision"
  same runs/classify/vit-all-$precision/weights/last.safetensors runs/classify/vit-less-$precision/weights/last.safetensors
done
done_with memory_test
