#!/usr/bin/env bash
# The scripts of tests/gpu go where there is no GPU, as far as that shows anything: with small networks on emu and the CPU they stop when
# their time is out, go on, and say what failed.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build to try}"
# gpu STATUS SCRIPT option...
gpu() {
  local want=$1 script=$2 got=0; shift 2
  "$here/../gpu/$script.sh" --build "$BUILD_DIR" --results "$work/results" --dry "$@" >out.txt 2>&1 || got=$?
  [ "$got" -eq "$want" ] || { cat out.txt results/*.txt >&2; fail "$script $*: status $got instead of $want"; }
  checks=$((checks + 1))
}
gpu 75 1-conform --backend emu --seconds 0
grep -q '^time is out: call 1-conform.sh again for devices' out.txt || { cat out.txt; fail "what is left is not named"; }
gpu 0 1-conform --backend emu --seconds 200
grep -q "^conform-e	ok	[0-9]* ops: .* kernels in [1-9][0-9]* cases$" results/1-conform.txt || { cat results/1-conform.txt; fail "the table"; }
cp results/1-conform.txt before.txt
gpu 0 1-conform --backend emu --seconds 0
cmp -s results/1-conform.txt before.txt || fail "what was done is done again"
# a call that was ended in the middle of a line: its step is run again
grep '^devices' before.txt >results/1-conform.txt
printf 'conform-e\tok\t12 o' >>results/1-conform.txt
gpu 75 1-conform --backend emu --seconds 0
grep -q '^time is out: call 1-conform.sh again for conform-e' out.txt && cmp -s results/1-conform.txt <(grep '^devices' before.txt) ||
  { cat out.txt results/1-conform.txt; fail "half a line"; }
# what cannot be written is said before anything runs
gpu 2 1-conform --backend emu --results /proc/self/results
# an old driver: one line, not one for each op
if [ -e "$BUILD_DIR/lib/cvrun-cuda/libcuda.so.1" ]; then
  CUDA_STANDIN=version=11080 LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda gpu 1 1-conform --results "$work/old" --seconds 60
  [ "$(wc -l <old/1-conform.txt)" -eq 1 ] && grep -q "^devices	failed	.*the driver is older than CUDA 12.4" old/1-conform.txt || { cat old/1-conform.txt; fail "an old driver"; }
fi
# what fails is a line, and fails the next call too
rm results/1-conform.txt
gpu 1 1-conform --backend nothing --seconds 100
gpu 1 1-conform --backend nothing --seconds 0
grep -q "^devices	failed	" results/1-conform.txt || { cat results/1-conform.txt; fail "a failure"; }
# losses, repetition, resume, moves and speeds
while [ ! -s results/3-rest.txt ] || grep -q 'time is out' out.txt; do
  status=0
  "$here/../gpu/3-rest.sh" --build "$BUILD_DIR" --results "$work/results" --dry --backend cpu --seconds 120 >out.txt 2>&1 || status=$?
  [ "$status" -eq 0 ] || [ "$status" -eq 75 ] || { cat out.txt; fail "3-rest: status $status"; }
done
grep -q "^repeats-f32	ok	f32: the same bits when repeated, and when re" results/3-rest.txt || { cat results/3-rest.txt; fail "repetition"; }
# without PyTorch its lines say so
GPU_PYTHON=/bin/false gpu 0 2-resnet50 --backend cpu --seconds 600
grep -q "^cvrun-f32	ok	[0-9.]* images/s" results/2-resnet50.txt && grep -q "^pytorch	left out	" results/2-resnet50.txt &&
  grep -q "^compared-f32	left out	one side has no figure" results/2-resnet50.txt || { cat results/2-resnet50.txt; fail "speeds"; }
if command -v shellcheck >/dev/null; then (cd "$here/../gpu" && shellcheck -x ./*.sh) || fail "shellcheck"; else left_out "the spelling of tests/gpu" shellcheck; fi
done_with gpu_scripts_all_test
