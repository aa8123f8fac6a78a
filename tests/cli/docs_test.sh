#!/usr/bin/env bash
# The code in docs/ is what it says it is: it is taken out of the pages, built against an installed cvrun, and used.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build to install}"
docs=$here/../../docs
cmake --install "$BUILD_DIR" --prefix "$work/cvr" >install.txt || { cat install.txt; fail "install"; }
# ```c FILE ... ``` goes to FILE, in order; CUDA's compiler would be slow, and is tried where kernels are built for CUDA
for page in add-a-layer add-an-augmentation add-a-kernel add-a-backend; do
  mkdir "$page"
  awk -v dir="$page" '/^```[a-z]+ [^ ]+$/ {file = dir "/" $2; next} /^```/ {file = ""; next} file {print > file}' "$docs/$page.md"
  cmake -S "$page" -B "$page/build" -DCMAKE_PREFIX_PATH="$work/cvr" -DCMAKE_C_STANDARD=17 -DCVR_NVCC= ${CVR_SANITIZE:+-DCMAKE_C_FLAGS=-fsanitize=$CVR_SANITIZE -DCVR_SANITIZE=$CVR_SANITIZE} >build.txt 2>&1 &&
    cmake --build "$page/build" >>build.txt 2>&1 || { cat build.txt; fail "the code of docs/$page.md does not build"; }
  checks=$((checks + 1))
done
# README's lines for plugin authors, as they stand
mkdir mine && cp add-a-layer/shrink.c mine/mine.c
readme=$here/../../README.md
lines() { sed -n '/^## Write a plugin/,/^## /p' "$readme" | sed -n 's/^    //p' | grep -E "$1"; }
lines '^(cmake_minimum|project|find_package|cvr_add_plugin)' >mine/CMakeLists.txt
[ "$(wc -l <mine/CMakeLists.txt)" -eq 4 ] || fail "README's CMakeLists.txt"
lines '^(cmake -S|export)' | sed "s|PATH=PREFIX|PATH=$work/cvr ${CVR_SANITIZE:+-D CMAKE_C_FLAGS=-fsanitize=$CVR_SANITIZE -D CVR_SANITIZE=$CVR_SANITIZE}|" >mine/lines.sh
echo "$work/cvr/bin/cvrun help acme.shrink" >>mine/lines.sh
(cd mine && bash -e lines.sh >out.txt 2>&1 && grep -q '^acme.shrink (layer)' out.txt) || { cat mine/out.txt; fail "README's lines for plugin authors"; }
checks=$((checks + 1))
[ -f cvr/share/doc/cvrun/docs/reference.md ] && [ -f cvr/share/doc/cvrun/examples/block.c ] || fail "docs and examples are not installed"
CVRUN=$work/cvr/bin/cvrun
export CVR_PLUGIN_PATH=$work/add-a-layer/build/lib/cvrun:$work/add-an-augmentation/build/lib/cvrun
recipe small.ini
sed -i -e 's/^r1 = relu/r1 = acme.shrink 0.1/' -e 's/^random_rotation.*/acme.solarize = threshold=128/' small.ini
"$CVRUN" train small.ini >log.txt 2>&1 || { cat log.txt; fail "training with the plugins of the docs"; }
[ -f runs/classify/small/weights/last.safetensors ] || fail "no weights"
checks=$((checks + 1))
# an op with kernels alone has no way into another format: the layer, the op, and what to do; nothing is left behind
expect 1 "layer r1: op acme.shrink cannot be written as onnx" "$CVRUN" export runs/classify/small
grep -q 'cvr.trait.onnx/1' err.txt && [ -z "$(ls runs/classify/small/weights | grep onnx || true)" ] || fail "the remedy, or what is left: $(cat err.txt)"
# the device kernel of the docs: each order of threads gives the same bits, and no node is left to the host
export CVR_PLUGIN_PATH=$CVR_PLUGIN_PATH:$work/add-a-kernel/build/lib/cvrun
for order in forward shuffled; do
  "$CVRUN" train small.ini name=$order backend.name=emu backend.emu_order=$order backend.fallback=error epochs=1 >log.txt 2>&1 ||
    { cat log.txt; fail "training with the kernel of the docs, $order"; }
done
same runs/classify/forward/weights/last.safetensors runs/classify/shuffled/weights/last.safetensors
"$CVRUN" info small.ini backend.name=emu >info.txt
grep -q 'emu:acme.shrink' info.txt || { cat info.txt; fail "not the kernel of the docs"; }
# the backend of the docs: what the suite says, and the bits of the backend whose kernels it runs, from the start and after a move
CVR_PLUGIN_PATH=$CVR_PLUGIN_PATH:$work/add-a-backend/build/lib/cvrun
"$CVRUN" conform --backend acme.box --op softmax --draws 1 >conform.txt 2>&1 || { cat conform.txt; fail "conform on the backend of the docs"; }
"$CVRUN" train small.ini name=cpu backend.name=cpu epochs=1 >log.txt 2>&1 || { cat log.txt; fail "training on cpu"; }
for where in 'backend.name=acme.box' 'backend.name=cpu --swap-to acme.box@1'; do
  "$CVRUN" train small.ini name=box $where backend.fallback=allow epochs=1 >log.txt 2>&1 || { cat log.txt; fail "training with the backend of the docs: $where"; }
  same runs/classify/cpu/weights/last.safetensors runs/classify/box/weights/last.safetensors
  rm -r runs/classify/box
done
# the same op as text in StableHLO
plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then left_out "the kernel of the docs on a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
else
  "$CVRUN" conform --backend pjrt "plugin=$plugin" --op 'acme.shrink*' --draws 1 -v >out.txt 2>&1 || { cat out.txt; fail "the kernel of the docs does not conform on pjrt"; }
  [ "$(grep -cE '^acme.shrink[a-z_]* +kernel pjrt +[1-9]' out.txt)" -eq 2 ] || { cat out.txt; fail "not both kernels of the docs for pjrt were tried"; }
  checks=$((checks + 1))
fi
# the same kernel on Vulkan
if [ ! -e add-a-kernel/build/lib/cvrun/shrink_vulkan.so ]; then left_out "the kernel of the docs on vulkan" glslangValidator
elif ! has_vulkan; then left_out "the kernel of the docs on vulkan" "a driver for Vulkan 1.3"
else
  show_vulkan
  "$CVRUN" info small.ini backend.name=vulkan >info.txt
  grep -q 'vulkan:acme.shrink' info.txt || { cat info.txt; fail "not the kernel of the docs on vulkan"; }
  "$CVRUN" train small.ini name=vulkan backend.name=vulkan backend.vulkan_timeout_s=3600 backend.fallback=error epochs=1 >log.txt 2>&1 || { cat log.txt; fail "training with the kernel of the docs on vulkan"; }
  same_losses runs/classify/forward runs/classify/vulkan 2e-4 7
fi
done_with docs_test
