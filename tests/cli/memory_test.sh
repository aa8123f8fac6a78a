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
planned() { "$CVRUN" info "$@" --json 2>error.txt | grep -o '"planned_memory_bytes": [0-9]*' | grep -o '[0-9]*$' || { cat error.txt >&2; fail "no plan of $*"; }; }
# One draw of each random case (CVR_TEST_DRAWS=1, under the sanitizers): a network with
# convolutions and one with attention, in f32.
quick=$([ "${CVR_TEST_DRAWS:-6}" -gt 1 ] || echo yes)
whole=$(planned net.ini)
# the refusal names the least that is possible, and so much is enough
expect 2 "this step needs at least" "$CVRUN" info net.ini train.memory=1M
for share in 95 90; do
  less=$((whole * share / 100))
  [ "$(planned net.ini train.memory=$less)" -le $less ] || fail "the plan is larger than train.memory=$less"
  checks=$((checks + 1))
done
# info shows the step that is planned: training's batch, or the part of it that is computed at once
"$CVRUN" info net.ini val.interval=1 >info.txt
grep -q '^conv1  *16 x 64 x 32 x 32 ' info.txt && grep -q '^bn1 ' info.txt && grep -q ' MFLOP forward for a batch of 16, ' info.txt || { cat info.txt >&2; fail "not training's step"; }
"$CVRUN" info net.ini train.grad_accum=4 | grep -q ' MFLOP forward for a batch of 4, ' || fail "not the part of a batch"
checks=$((checks + 2))
expect 2 "train.memory = lots: not an amount of memory" "$CVRUN" info net.ini train.memory=lots
for backend in cpu reference; do
  [ $backend$quick = referenceyes ] && continue
  limit=$([ $backend = cpu ] && echo 16 || echo 4) size=$([ $backend = cpu ] && echo 32 || echo 16)
  for precision in f32 bf16; do
    [ $precision$quick = bf16yes ] && continue
    [ $backend-$precision = reference-bf16 ] && continue # the same program in f32, between casts
    "$CVRUN" train net.ini run.name=all-$backend-$precision backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) >log.txt 2>&1 || { cat log.txt >&2; fail "train on $backend"; }
    least=$("$CVRUN" info net.ini backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) train.memory=1K 2>&1 | grep -o 'at least [0-9]*M' | cut -d' ' -f3 || true)
    "$CVRUN" train net.ini run.name=less-$backend-$precision backend.name=$backend backend.precision=$precision data.img_size=$size data.limit=$limit train.batch=$((limit / 2)) train.memory=$least >log.txt 2>&1 || { cat log.txt >&2; fail "train with $least on $backend"; }
    grep -q "activations are computed twice" log.txt || fail "nothing was computed twice on $backend in $precision"
    same runs/classify/all-$backend-$precision/weights/last.safetensors runs/classify/less-$backend-$precision/weights/last.safetensors
  done
done
# Other families, each by its least: the trace shows that what it is to compute twice was computed twice.
# Arguments: the op, what the least may be of the whole in percent, precision, recipe, settings.
by_its_least() {
  local op=$1 percent=$2 precision=$3 recipe=$4 whole least
  shift 4
  local args=(data.limit=16 train.batch=8 "$@" backend.name=cpu backend.precision=$precision)
  whole=$(planned $recipe "${args[@]}")
  least=$("$CVRUN" info $recipe "${args[@]}" train.memory=1K 2>&1 | grep -o 'at least [0-9]*M' | grep -o '[0-9]*' || true)
  [ $((least * 1000000 * 100)) -lt $((whole * percent)) ] || fail "$* in $precision needs ${least}M, of $whole bytes without a limit"
  checks=$((checks + 1))
  rm -rf runs
  "$CVRUN" train $recipe "${args[@]}" run.name=all >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }
  "$CVRUN" train $recipe "${args[@]}" run.name=less train.memory=${least}M log.trace=trace.json >log.txt 2>&1 || { cat log.txt >&2; fail "train $* with ${least}M"; }
  grep -q "\"cat\": \"recompute\".*\"op\": \"$op\"" trace.json || fail "no $op of $* was computed twice in $precision"
  same runs/*/all/weights/last.safetensors runs/*/less/weights/last.safetensors
}
unless_quick() { [ -n "$quick" ] || by_its_least "$@"; }
unless_quick conv2d_stats 60 f32 net.ini model.name=resnet50_cifar model.width=16
unless_quick conv2d_stats 60 bf16 net.ini model.name=resnet50_cifar model.width=16
sed '/^\[model\]/,/^name/d' net.ini >plain.ini
cat >>plain.ini <<'INI'
[net]
conv1 = conv2d 32 kernel_size=3 padding=1
relu1 = relu
conv2 = conv2d 32 kernel_size=3 padding=1
relu2 = relu
pool1 = max_pool2d 2
up = conv_transpose2d 64 kernel_size=2 stride=2
bn = batch_norm2d
relu3 = relu
pool2 = max_pool2d 8
flat = flatten
out = linear num_classes
INI
unless_quick conv2d_act 90 f32 plain.ini data.img_size=128
unless_quick conv_transpose2d 90 bf16 plain.ini data.img_size=128
unless_quick conv2d_stats 80 f32 net.ini model.name=mobilenet_v2 model.width_mult=0.35 data.img_size=96
unless_quick linear 80 bf16 net.ini model.name=convnext_tiny model.width=32 model.layers=3,3 data.img_size=64
vit=(net.ini model.name=vit_b_16 model.patch_size=4 model.num_layers=4 model.num_heads=2 model.hidden_dim=64 model.mlp_dim=256 model.dropout=0.1 data.limit=32 train.batch=16)
by_its_least scaled_dot_product_attention 90 f32 "${vit[@]}"
unless_quick layer_norm 90 bf16 "${vit[@]}"
done_with memory_test
