#!/usr/bin/env bash
# cvrun on the backend `cuda` with a stand-in for NVIDIA's driver: the demo's network has emu's losses to the digit and follows the CPU's; moves
# between backends, SIGKILL and resume, a lost device; a U-Net and a ViT; `cvrun conform` on a sample.
. "$(dirname "$0")/emu_nets.sh"
# by what there is: a driver of this machine's own is not asked
expect 2 "backend cuda finds no device on this machine: cuda: the driver finds no NVIDIA GPU" \
  env CUDA_STANDIN=devices=0 LD_LIBRARY_PATH="$BUILD_DIR/lib/cvrun-cuda" "$CVRUN" train "$recipes/fashion-mnist.ini" backend.name=cuda
export LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda
expect 2 "the driver is older than CUDA 12.4: it lacks cuFunc" env CUDA_STANDIN=version=11080 "$CVRUN" train "$recipes/fashion-mnist.ini" backend.name=cuda
expect 2 "this libcuda.so.1 is the toolkit's stub and no driver: " env CUDA_STANDIN=version=0 "$CVRUN" train "$recipes/fashion-mnist.ini" backend.name=cuda
train() { "$CVRUN" train "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
own=backend.cuda_libraries=no # NVIDIA's libraries take a second to open, and do not take the stand-in for a driver
losses() { cut -d, -f1-3 "runs/classify/$1/steps.csv"; }

# the demo's network, with addresses checked: emu's bits, whatever is captured
demo=("$recipes/fashion-mnist.ini" $small data.root= data.names= data.classes=10 data.size=20 batch=4 optim.lr=0.005 backend.fallback=error)
train "${demo[@]}" name=cpu
train "${demo[@]}" name=emu backend.name=emu
CUDA_STANDIN=tell=1 train "${demo[@]}" name=cuda backend.name=cuda $own backend.cuda_check=yes
grep -qE 'stand-in: [1-9][0-9]* kernels, [1-9][0-9]* graphs, [1-9][0-9]* waits, 0 direct uploads, 0 things left' log.txt || { tail -1 log.txt; fail "no graphs, or something is left"; }
same <(losses cuda) <(losses emu)
same runs/classify/cuda/weights/last.safetensors runs/classify/emu/weights/last.safetensors
same_losses runs/classify/cpu runs/classify/cuda 1e-3 5
# f16 with a scale of the loss
train "${demo[@]}" name=half-emu backend.name=emu backend.precision=f16
train "${demo[@]}" name=half-cuda backend.name=cuda $own backend.precision=f16
same runs/classify/half-cuda/weights/last.safetensors runs/classify/half-emu/weights/last.safetensors
same_losses runs/classify/cpu runs/classify/half-cuda 1e-2 5
# where all gradients overflow, no update changes anything, and the run goes on
recipe plain.ini
sed -i '/^b1 = /d' plain.ini # without running statistics
train plain.ini name=start epochs=0
train plain.ini name=overflows epochs=1 backend.name=cuda $own backend.precision=f16 train.loss_scale=1e9 data.size=16
[ "$(grep -c 'a gradient overflowed f16, so its update is left out' log.txt)" = 2 ] || { cat log.txt; fail "not every step overflows"; }
same runs/classify/overflows/weights/last.safetensors runs/classify/start/weights/last.safetensors
# five steps more are five waits more: what may veto their updates is looked at by the device
waits() {
  CUDA_STANDIN=tell=1 train plain.ini name="waits-$1" epochs=1 backend.name=cuda $own backend.precision=f16 val.interval=0 data.size="$1"
  sed -n 's/^libcuda stand-in: .* graphs, \([0-9]*\) waits, .*/\1/p' log.txt
}
[ $(($(waits 72) - $(waits 32))) = 5 ] || fail "not one wait a step"
checks=$((checks + 2))
# from the CPU to the GPU and back
train "${demo[@]}" name=moved $own --swap-to cuda@1 --swap-to cpu@4
same_losses runs/classify/cpu runs/classify/moved 1e-3 5
same <(losses moved | head -n 2) <(losses cpu | head -n 2)

# batches of 64 kB and more go up from where they were made
recipe large.ini
CUDA_STANDIN="tell=1 idle=1" "$CVRUN" train large.ini data.img_size=64 data.size=16 epochs=1 name=large backend.name=cuda $own optim.lr=0 >log.txt 2>&1 || true
grep -qE 'stand-in: .*, [1-9][0-9]* direct uploads, 0 things left' log.txt || { cat log.txt; fail "batches are copied before they go up"; }
checks=$((checks + 1))

# SIGKILL after a step, and the device lost in another: resumed, they end in the bits of a run that nobody touched
recipe small.ini
long=(small.ini backend.name=cuda $own epochs=2 "run.save_every=2 steps" val.interval=0)
train "${long[@]}" name=whole
"$CVRUN" train "${long[@]}" name=killed >log.txt 2>&1 & pid=$!
for ((tries = 0; tries < 6000; tries++)); do
  [ -f runs/classify/killed/steps.csv ] && [ "$(wc -l <runs/classify/killed/steps.csv)" -gt 5 ] && break
  sleep 0.01
done
kill -KILL $pid 2>/dev/null || true; wait $pid 2>/dev/null || true
train --resume runs/classify/killed
same runs/classify/killed/weights/last.safetensors runs/classify/whole/weights/last.safetensors
expect 1 "cuda: Stand-in 0: the device is lost (CUDA_ERROR_ILLEGAL_ADDRESS of cu" env CUDA_STANDIN="fail_launch=400 fail_with=700" "$CVRUN" train "${long[@]}" name=lost
grep -qE ', in .*(normalize|c1|b1|p1|d|fc).*cuda_replay=each' err.txt || fail "no layer is named: $(cat err.txt)"
train --resume runs/classify/lost
same runs/classify/lost/weights/last.safetensors runs/classify/whole/weights/last.safetensors
# too little memory is told before the first step, in one line
expect 1 "the programs need " env CUDA_STANDIN=memory=100000 "$CVRUN" train small.ini name=full backend.name=cuda $own
# what cannot be captured is launched one by one, and said
CUDA_STANDIN=refuse_capture=1 train "${long[@]}" name=uncaptured
grep -q 'are launched one by one, not as a graph: ' log.txt || { cat log.txt; fail "nobody says that there is no graph"; }
same runs/classify/uncaptured/weights/last.safetensors runs/classify/whole/weights/last.safetensors

# the device by a part of its name; its line among the plugins
"$CVRUN" info small.ini backend.name=cuda $own backend.device=stand-in >info.txt || fail "backend.device"
grep -q cuda info.txt || { cat info.txt; fail "info does not say where nodes run"; }
"$CVRUN" plugins -v >plugins.txt
grep -q 'device   cuda/0 Stand-in 0.*GPU-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae00' plugins.txt || { grep cuda plugins.txt; fail "the device is not listed"; }
# times of nodes, on the device's clock
train small.ini name=traced backend.name=cuda $own epochs=1 val.interval=0 log.trace=trace.json
[ "$(grep -c '"kernel": "cuda"' trace.json)" -gt $((7 * 15)) ] && grep -q 'conv2d_backward_weight' trace.json || fail "the trace has no nodes of the device"
checks=$((checks + 1))

"$CVRUN" conform --backend cuda $own --op 'softmax_backward,max_pool2d_backward,permute,cross_entropy_backward,mul,sgd_update' --draws 1 -v >out.txt 2>err.txt ||
  { cat out.txt err.txt >&2; fail "conform"; }
grep -q '0 left to the host, 0 that no case reached' out.txt || { cat out.txt; fail "not all of the sample was tried"; }
checks=$((checks + 1))
done_with cuda_cli_test
