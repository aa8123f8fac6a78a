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
