#!/usr/bin/env bash
# What a run says about its precision: `auto` with what it measured, and its choice is the run's from then on; bf16x3 with how many nodes it changes, or that none does it
# here, and then the bits are those of f32.
. "$(dirname "$0")/lib.sh"
recipe small.ini
train() { "$CVRUN" train small.ini "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
says() { grep -qE -- "$1" log.txt || { cat log.txt >&2; fail "no line \`$1\`"; }; checks=$((checks + 1)); }

train name=plain backend.isa=base
train name=auto backend.isa=base backend.precision=auto
says 'precision=auto: f32, since'
train name=three backend.isa=base backend.precision=bf16x3
says 'precision=bf16x3: no kernel .* computes in f32'
[ "$(grep -c 'precision=bf16x3' log.txt)" = 1 ] || fail "more than one line about bf16x3"
says '^backend .*; f32$'
same runs/classify/three/weights/last.safetensors runs/classify/plain/weights/last.safetensors
train name=rounded backend.isa=base backend.precision=tf32
says 'precision=tf32: no kernel .* computes in f32'

# f16 with a scale of the loss, on device kernels: near f32 in the first steps, also where a batch is computed in parts; where the scale is too large updates are left
# out and it is halved, where it is small it grows until a gradient overflows; the scale is in the checkpoint
near() {
  paste -d, <(cut -d, -f1,3 "runs/classify/$1/steps.csv") <(cut -d, -f3 "runs/classify/$2/steps.csv") | sed -n 2,4p |
    awk -F, '{d = $2 - $3; if (d < 0) d = -d; if (!(d <= 2e-3 * $2)) bad = 1} END {exit bad || NR != 3}' || fail "$1 and $2 are not near each other"
  checks=$((checks + 1))
}
half=(backend.name=emu backend.precision=f16 backend.fallback=error sched.name=constant sched.warmup_epochs=0 epochs=2)
for parts in 1 2; do
  train name=half-$parts "${half[@]}" train.grad_accum=$parts
  says '^backend .*; f16$'
  train name=full-$parts "${half[@]}" train.grad_accum=$parts backend.precision=f32
  near half-$parts full-$parts
done
sed '/^b1 = /d' small.ini >plain.ini # without running statistics
"$CVRUN" train plain.ini name=large "${half[@]}" train.loss_scale=1e9 epochs=1 >log.txt 2>&1 || { cat log.txt; fail "f16 with a large scale"; }
[ "$(grep -c 'a gradient overflowed f16, so its update is left out' log.txt)" = 7 ] && says 'scale is 7.8125e.06 now' && says '7 of 7 updates of epoch 1 were left out'
"$CVRUN" train plain.ini name=start epochs=0 >log.txt 2>&1
same runs/classify/large/weights/last.safetensors runs/classify/start/weights/last.safetensors
growing=("${half[@]}" train.loss_scale=65536 train.loss_scale_growth=1)
train name=growing "${growing[@]}"
says 'a gradient overflowed f16'
train name=cut "${growing[@]}" epochs=1
"$CVRUN" train --resume runs/classify/cut epochs=2 >log.txt 2>&1 || { cat log.txt; fail "f16 does not go on"; }
same runs/classify/cut/weights/last.safetensors runs/classify/growing/weights/last.safetensors
expect 2 'loss_scale is 0; it must be at least' "$CVRUN" train small.ini train.loss_scale=0

# With products that measure as the test says, on a machine that has avx2: bf16 is taken where it is clearly faster.
if grep -qw avx2 /proc/cpuinfo; then
  export CVR_PLUGIN_PATH=$BUILD_DIR/lib/cvrun-peak
  chosen() { grep -qx "precision = $2" "runs/classify/$1/config.ini" || fail "$1: config.ini has not precision = $2"; checks=$((checks + 1)); }
  figures='[0-9.e+]* GFLOP/s \(.*\), in f32 [0-9.e+]* \(.*\)'
  CVR_TEST_PEAK=bf16-slow train name=slow backend.precision=auto epochs=1
  says "precision=auto: f32: products in bf16 measure $figures"
  chosen slow f32
  CVR_TEST_PEAK=bf16-fast train name=fast backend.precision=auto epochs=1
  says "precision=auto: bf16: products in bf16 measure $figures"
  chosen fast bf16
  # The run goes on, and is evaluated, as it began, whatever would be measured now and whether or not `auto` is said again.
  train name=given backend.precision=bf16 epochs=1
  export CVR_TEST_PEAK=bf16-slow
  "$CVRUN" train --resume runs/classify/given epochs=2 >log.txt 2>&1
  "$CVRUN" train --resume runs/classify/fast epochs=2 backend.precision=auto >log.txt 2>&1
  says 'precision=auto: bf16, as the run computed until now'
  same runs/classify/fast/weights/last.safetensors runs/classify/given/weights/last.safetensors
  "$CVRUN" val runs/classify/fast >log.txt 2>&1
  grep -q 'precision=auto' log.txt && fail "val measures again"
  unset CVR_PLUGIN_PATH CVR_TEST_PEAK
else
  left_out "precision_test with measured products" avx2
fi

# With the AMX packs that the tests have for machines without: where the rest of what they need is there.
if [ -f "$BUILD_DIR/lib/cvrun-amx/plugins.ini" ] && grep -q avx512_bf16 /proc/cpuinfo; then
  export CVR_PLUGIN_PATH=$BUILD_DIR/lib/cvrun-amx
  train name=three-amx backend.precision=bf16x3
  says 'precision=bf16x3: [1-9][0-9]* of [0-9]* nodes multiply so'
  says '^backend .*; bf16x3$'
  cmp -s runs/classify/three-amx/weights/last.safetensors runs/classify/plain/weights/last.safetensors && fail "bf16x3 has f32's bits"
  train name=plain-amx
  same runs/classify/plain-amx/weights/last.safetensors <(CVR_PLUGIN_PATH='' "$CVRUN" train small.ini name=without >log.txt 2>&1; cat runs/classify/without/weights/last.safetensors)
else
  left_out "precision_test with AMX's kernels" 'avx512_bf16 (and, under sanitizers, --all, which builds them)'
fi
done_with precision_test
