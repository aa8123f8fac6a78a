#!/usr/bin/env bash
# cvrun on Vulkan, with whatever driver there is: five steps of the demo's network beside the CPU's, moves between backends, SIGKILL and resume, a
# lost device, a machine without one.
. "$(dirname "$0")/lib.sh"
show_vulkan
expect 2 "backend vulkan finds no device on this machine: vulkan: there is no device; install a driver" \
  env VK_ICD_FILENAMES=/dev/null VK_DRIVER_FILES=/dev/null "$CVRUN" train "$here/../../apps/recipes/fashion-mnist.ini" backend.name=vulkan
expect 2 "install a driver (Debian: mesa-vulkan-drivers, or the GPU vendor's); only those of VK_DRIVER_FILES=/dev/null are looked for: unset it to look for all; backend=auto computes on what there is here" \
  env VK_ICD_FILENAMES=/dev/null VK_DRIVER_FILES=/dev/null "$CVRUN" info "$here/../../apps/recipes/fashion-mnist.ini" backend.name=vulkan
# a driver's file that is no JSON, and a loader that is no library
mkdir no_library; echo "no library" >no_library/libvulkan.so.1; echo "no JSON" >driver.json
expect 2 "backend vulkan finds no device on this machine: vulkan: " \
  env VK_ICD_FILENAMES="$work/driver.json" VK_DRIVER_FILES="$work/driver.json" "$CVRUN" info "$here/../../apps/recipes/fashion-mnist.ini" backend.name=vulkan
grep -qE 'VK_LOADER_DEBUG=error in the environment|only those of VK_DRIVER_FILES=' err.txt || fail "no remedy is named: $(cat err.txt)"
expect 2 "libvulkan.so.1 cannot be loaded (" \
  env LD_LIBRARY_PATH="$work/no_library" "$CVRUN" info "$here/../../apps/recipes/fashion-mnist.ini" backend.name=vulkan
if ! has_vulkan; then
  left_out "training on vulkan" "a driver for Vulkan 1.3"
  done_with vulkan_cli_test
  exit
fi
checked=(backend.fallback=error backend.vulkan_check=yes backend.vulkan_timeout_s=3600)
if [ -e /usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ]; then checked+=(backend.vulkan_validation=sync)
else left_out "validation of training on vulkan" "VK_LAYER_KHRONOS_validation"; fi
train() { "$CVRUN" train "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
steps() { cut -d, -f1-3 "runs/classify/$1/steps.csv"; }

# follows NAME OTHER TOLERANCE: losses step by step, relative
follows() {
  paste -d, <(cut -d, -f1,3 "runs/classify/$1/steps.csv") <(cut -d, -f3 "runs/classify/$2/steps.csv") | tail -n +2 |
    awk -F, -v most="$3" '{d = $2 - $3; if (d < 0) d = -d; if (d > most * ($3 > 1 ? $3 : 1)) {print "step " $1 ": " $2 " and " $3; bad = 1} n++} END {exit bad || n < 5}' ||
    fail "$1 leaves $2"
  checks=$((checks + 1))
}

# the demo's network, under the validation layers and the checks of barriers and addresses
demo=("$here/../../apps/recipes/fashion-mnist.ini" data.limit=80 batch=16 epochs=1 val.interval=0)
train "${demo[@]}" name=cpu
train "${demo[@]}" name=vulkan backend.name=vulkan "${checked[@]}"
follows vulkan cpu 1e-3
# from the CPU to Vulkan and back
train "${demo[@]}" name=moved --swap-to vulkan/0@1 --swap-to cpu@4
grep -q 'moved to backend vulkan/0 (.*) after step 1' log.txt || fail "no move to the device"
follows moved cpu 1e-3
same <(steps moved | head -n 2) <(steps cpu | head -n 2)

# SIGKILL after a step, and the device lost in another: resumed, they end in the bits of a run that nobody touched
recipe small.ini
long=(small.ini backend.name=vulkan epochs=4 "run.save_every=2 steps" val.interval=0)
train "${long[@]}" name=whole
"$CVRUN" train "${long[@]}" name=killed >log.txt 2>&1 & pid=$!
for ((tries = 0; tries < 6000; tries++)); do
  [ -f runs/classify/killed/steps.csv ] && [ "$(wc -l <runs/classify/killed/steps.csv)" -gt 5 ] && break
  sleep 0.01
done
kill -KILL $pid 2>/dev/null || true; wait $pid 2>/dev/null || true
train --resume runs/classify/killed
same runs/classify/killed/weights/last.safetensors runs/classify/whole/weights/last.safetensors
# of three submits on end one is the step's; others copy a batch or what is read
named=0
for at in 40 41 42; do
  expect 1 "the device is lost (VK_ERROR_DEVICE_LOST of vkQueueSubmit2), in " "$CVRUN" train "${long[@]}" name=lost backend.vulkan_fail_submit=$at
  if grep -qE ', in .*(normalize|c1|b1|p1|fc)' err.txt; then named=1; break; fi
  mv runs/classify/lost runs/classify/lost$at
done
[ $named = 1 ] || fail "no layer is named: $(cat err.txt)"
train --resume runs/classify/lost backend.vulkan_fail_submit=0
same runs/classify/lost/weights/last.safetensors runs/classify/whole/weights/last.safetensors
expect 1 "is out of memory: " "$CVRUN" train small.ini name=full backend.name=vulkan backend.vulkan_fail_alloc=2

# the device by its UUID, and by a part of its name
uuid=$(sed -n 's|.* device   vulkan/0 .*UUID \([0-9a-f-]*\).*|\1|p' vulkan.txt)
for device in "$uuid" "$(sed -n 's|.* device   vulkan/0 \([A-Za-z0-9]*\).*|\1|p' vulkan.txt)"; do
  "$CVRUN" info small.ini backend.name=vulkan "backend.device=$device" >info.txt || fail "backend.device=$device"
  checks=$((checks + 1))
done
grep -q 'vulkan' info.txt || { cat info.txt; fail "info does not say where nodes run"; }
# what the driver compiled is kept, and not used again once anyone may write to it, nor when it is damaged
cached() { XDG_CACHE_HOME=$work/cache "$CVRUN" info small.ini backend.name=vulkan >info.txt 2>err.txt && grep -q "$1" err.txt || { cat err.txt >&2; fail "the cache: $1"; }; }
mkdir cache
XDG_CACHE_HOME=$work/cache "$CVRUN" info small.ini backend.name=vulkan >info.txt
chmod o+w cache/cvrun/vulkan_*
cached "is not used: anyone may write to it"
truncate -s 30 cache/cvrun/vulkan_*
cached "is damaged, and will be made again"
checks=$((checks + 2))
# times of nodes, on the device's clock
train small.ini name=traced backend.name=vulkan epochs=1 val.interval=0 log.trace=trace.json
[ "$(grep -c '"kernel": "vulkan"' trace.json)" -gt $((7 * 15)) ] && grep -q 'conv2d_backward_weight' trace.json || fail "the trace has no nodes of the device"
checks=$((checks + 1))
done_with vulkan_cli_test
