#!/usr/bin/env bash
# What a run says about its precision: `auto` with its reason; bf16x3 with how many nodes it changes, or that none does it
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

# With the AMX packs that the tests have for machines without: where the rest of what they need is there.
if [ -d "$BUILD_DIR/lib/cvrun-amx" ] && grep -q avx512_bf16 /proc/cpuinfo; then
  export CVR_PLUGIN_PATH=$BUILD_DIR/lib/cvrun-amx
  train name=auto-amx backend.precision=auto
  says 'precision=auto: bf16, since this machine multiplies it faster \(.*avx512_bf16'
  train name=three-amx backend.precision=bf16x3
  says 'precision=bf16x3: [1-9][0-9]* of [0-9]* nodes multiply so'
  says '^backend .*; bf16x3$'
  cmp -s runs/classify/three-amx/weights/last.safetensors runs/classify/plain/weights/last.safetensors && fail "bf16x3 has f32's bits"
  train name=plain-amx
  same runs/classify/plain-amx/weights/last.safetensors <(CVR_PLUGIN_PATH='' "$CVRUN" train small.ini name=without >log.txt 2>&1; cat runs/classify/without/weights/last.safetensors)
else
  left_out "precision_test with AMX's kernels" avx512_bf16
fi
done_with precision_test
