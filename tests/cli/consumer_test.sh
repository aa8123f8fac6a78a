#!/usr/bin/env bash
# A stranger's plugins, built against an installed cvrun that was moved after installing, train on every backend.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build to install}"
consumer=$here/../consumer
cmake --install "$BUILD_DIR" --prefix "$work/first" >install.txt || { cat install.txt; fail "install"; }
mv first moved
[ "$(wc -l <"$consumer/block.c")" -le 40 ] || fail "the composed layer takes more than 40 lines"
cmake -S "$consumer" -B built -DCMAKE_PREFIX_PATH="$work/moved" -DCVR_CUDA_ARCHS=90 ${CVR_SANITIZE:+-DCMAKE_C_FLAGS=-fsanitize=$CVR_SANITIZE -DCVR_SANITIZE=$CVR_SANITIZE} >build.txt 2>&1 &&
  cmake --build built >>build.txt 2>&1 || { cat build.txt; fail "the consumer does not build"; }

# every public header compiles alone, as C17 and as C++17
for header in moved/include/cvr/plugin/*.h moved/include/cvr/plugin/ops/*.h moved/include/cvr/plugin/formats/onnx.h; do
  gcc -std=c17 -pedantic -Wall -Wextra -Werror -fsyntax-only -Imoved/include -x c "$header" || fail "$header as C17"
  g++ -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -Imoved/include -x c++ "$header" || fail "$header as C++17"
  checks=$((checks + 1))
done

CVRUN=$work/moved/bin/cvrun
export CVR_PLUGIN_PATH=$work/built/lib/cvrun
"$CVRUN" plugins -v >plugins.txt
grep -q "device   emu/0 emu" plugins.txt || fail "the device of emu is not listed"
grep -q 'com.acme.block *1.0.0 *loaded' plugins.txt && grep -q 'com.acme.swish *1.0.0 *loaded' plugins.txt || { cat plugins.txt; fail "not loaded"; }
grep -q 'dormant  1 kernel for backend cpu, payload acme.module/1: nothing here launches it' plugins.txt &&
  grep -q 'dormant  1 kernel for backend acme.gpu, payload acme.module/1: no such backend is installed' plugins.txt ||
  { cat plugins.txt; fail "kernels that nothing launches are not told"; }
# Kernel packs for other processors are refused, and rightly.
if grep 'refused:' plugins.txt | grep -v 'CPU feature'; then fail "a plugin was refused"; fi

recipe small.ini
sed -i -e 's/^r1 = relu/r1 = acme.swish 1.5/' -e 's/^p1 = .*/block = acme.block\np1 = max_pool2d 2/' small.ini
for backend in cpu far reference; do
  "$CVRUN" train small.ini name=$backend backend.name=$backend >log.txt 2>&1 || { cat log.txt; fail "training on $backend"; }
  checks=$((checks + 1))
done
grep -q 'acme.swish is here for 3 epochs (small.ini:' log.txt || { cat log.txt; fail "the plugin does not see the recipe's settings"; }
grep -q 'acme.swish_backward' log.txt && fail "the reference has this kernel itself"
same runs/classify/cpu/weights/last.safetensors runs/classify/far/weights/last.safetensors
# the stranger's own code for a device, and nothing that runs elsewhere
"$CVRUN" info small.ini backend.name=far | grep -q 'acme.swish .*far' || { "$CVRUN" info small.ini backend.name=far; fail "not the kernel for the device"; }
"$CVRUN" train small.ini name=device backend.name=far backend.fallback=error backend.far_max_block=262144 >log.txt 2>&1 || { cat log.txt; fail "training with device code"; }
same runs/classify/device/weights/last.safetensors runs/classify/cpu/weights/last.safetensors
# the stranger's SPIR-V, beside his CPU kernel, under the validation layers
if [ ! -e built/lib/cvrun/acme_swish_vulkan.so ]; then left_out "a stranger's SPIR-V" glslangValidator
elif ! has_vulkan; then left_out "a stranger's SPIR-V" "a driver for Vulkan 1.3"
else
  show_vulkan
  "$CVRUN" info small.ini backend.name=vulkan >info.txt
  grep -q vulkan:acme.swish info.txt || { cat info.txt; fail "not the kernel for Vulkan"; }
  validated=backend.vulkan_validation=sync
  [ -e /usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ] || validated=
  "$CVRUN" train small.ini name=vulkan backend.name=vulkan backend.fallback=error $validated backend.vulkan_check=yes >log.txt 2>&1 ||
    { cat log.txt; fail "training with SPIR-V"; }
  same_losses runs/classify/cpu runs/classify/vulkan 2e-4 15
  hide_vulkan
fi
same_losses runs/classify/cpu runs/classify/reference 2e-4 15
expect 1 "cpu has no kernel" "$CVRUN" train small.ini name=strict backend.name=cpu backend.fallback=error
"$CVRUN" info small.ini | grep -q 'block.conv1' || fail "info does not show the inside of the block"
# one plugin with a kernel for the CPU and one for devices: the same curve, on emu with nothing left to the host
sed -e 's/^r1 = acme.swish 1.5/r1 = acme.softsign/' small.ini >softsign.ini
for backend in cpu emu; do
  "$CVRUN" train softsign.ini name=softsign-$backend backend.name=$backend backend.fallback=error >log.txt 2>&1 || { cat log.txt; fail "softsign on $backend"; }
done
"$CVRUN" info softsign.ini backend.name=emu | grep -q 'emu:acme.softsign' || fail "not the kernel for the device"
same_losses runs/classify/softsign-cpu runs/classify/softsign-emu 1e-5 15
# for CUDA, by a module and by a launch of its own, on the stand-in for the driver: emu's bits
if [ ! -e built/lib/cvrun/acme_softsign_cuda.so ] || [ ! -e "$BUILD_DIR/lib/cvrun-cuda/libcuda.so.1" ]; then left_out "a stranger's kernels for CUDA" nvcc
else
  "$CVRUN" train softsign.ini name=softsign-emu4 epochs=1 backend.name=emu >log.txt 2>&1 &&
    LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda "$CVRUN" train softsign.ini name=softsign-cuda epochs=1 backend.name=cuda backend.cuda_libraries=no backend.fallback=error backend.cuda_check=yes \
      >log.txt 2>&1 || { cat log.txt; fail "softsign on cuda"; }
  LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda "$CVRUN" info softsign.ini backend.name=cuda | grep -q 'cuda:acme.softsign' || fail "not the kernels for CUDA"
  same runs/classify/softsign-cuda/weights/last.safetensors runs/classify/softsign-emu4/weights/last.safetensors
  # what it loaded works in the device's next context as well
  LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda "$CVRUN" train softsign.ini name=softsign-moved epochs=1 backend.cuda_libraries=no --swap-to cuda@1 --swap-to cpu@2 --swap-to cuda@3 \
    >log.txt 2>&1 && grep -q 'moved to backend cuda/0 (.*) after step 3' log.txt || { cat log.txt; fail "softsign after a move back to cuda"; }
  checks=$((checks + 1))
fi
# a third party's ops take part in pruning: one is elementwise by its flag, one says how its axes are tied
for run in cpu softsign-cpu; do
  "$CVRUN" prune runs/classify/$run amount=0.5 scope=all prune.round_to=1 pictures=8 >out.txt 2>err.txt || { cat err.txt; fail "prune $run"; }
  grep -q '^  width: c1: ' out.txt || { cat out.txt; fail "c1 of $run keeps its width"; }
done
# what `cvrun conform` says of them, on a backend and of the plugin
"$CVRUN" conform --backend emu --op 'acme.softsign*' --draws 1 -v >out.txt 2>&1 || { cat out.txt; fail "softsign does not conform on emu"; }
[ "$(grep -cE '^acme.softsign[a-z_]* +kernel emu +[1-9]' out.txt)" -eq 2 ] || { cat out.txt; fail "not both kernels were tried"; }
if [ -n "$(pjrt_plugin)" ] && "$CVRUN" plugins | grep -q pjrt; then
  "$CVRUN" conform --backend pjrt "plugin=$CVR_PJRT_PLUGIN" --op 'acme.softsign*' --draws 1 -v >out.txt 2>&1 || { cat out.txt; fail "softsign does not conform on pjrt"; }
  [ "$(grep -cE '^acme.softsign[a-z_]* +kernel pjrt +[1-9]' out.txt)" -eq 2 ] || { cat out.txt; fail "not both kernels for pjrt were tried"; }
fi
"$CVRUN" conform --plugin built/lib/cvrun/acme_softsign.so --draws 2 >out.txt 2>&1 || { cat out.txt; fail "softsign does not conform"; }
# an op with nothing but a decomposition, in the middle and as the last thing before the loss; x + x by hand gives the same bits
sed -e 's/^f = flatten/t = acme.twice\nf = flatten/' -e 's/^fc = .*/fc = linear num_classes\nlast = acme.twice/' small.ini >twice.ini
sed -e 's/^t = acme.twice/t = add from=p1,p1/' -e 's/^last = .*/last = add from=fc,fc/' twice.ini >hand.ini
for backend in cpu far reference; do
  for name in twice hand; do
    "$CVRUN" train $name.ini name=$name-$backend backend.name=$backend >log.txt 2>&1 || { cat log.txt; fail "$name on $backend"; }
  done
  same runs/classify/twice-$backend/weights/last.safetensors runs/classify/hand-$backend/weights/last.safetensors
done
# in ONNX the one is written by its trait, the other by its decomposition
"$CVRUN" export runs/classify/twice-cpu out=twice.onnx >log.txt 2>&1 || { cat log.txt; fail "a stranger's ops are not exported"; }
grep -aq Sigmoid twice.onnx && ! grep -aq acme twice.onnx || fail "acme.swish and acme.twice in ONNX"
# a problem of one's own: its kind of field, data, loss, network with two results and task with two targets
cat >spots.ini <<'INI'
[run]
task = acme.locate
seed = 3
[model]
name = acme.two_heads
[data]
format = acme.scenes
size = 96
mean = 0.2
std = 0.3
[train]
epochs = 20
batch = 16
[optim]
name = adam
lr = 0.01
INI
for backend in cpu far reference; do
  "$CVRUN" train spots.ini name=$backend backend.name=$backend >log.txt 2>&1 || { cat log.txt; fail "two targets on $backend"; }
  folder=runs/acme.locate/$backend
  head -1 $folder/steps.csv | grep -q '^step,epoch,loss,loss_output,loss_spots,' || fail "the losses have no columns"
  awk -F, 'NR > 1 {d = $3 - $4 - $5; if (d < 0) d = -d; if (d > 1e-4 * $3) bad = 1} END {exit bad}' $folder/steps.csv || fail "the losses do not add up"
  head -1 $folder/per_class.csv | grep -q '^class,accuracy$' && [ "$(wc -l <$folder/per_class.csv)" -eq 4 ] || fail "per_class.csv"
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "distance") c = i} NR == 2 {first = $c} END {exit !(c && $c < first / 2)}' \
    $folder/results.csv || { cat $folder/results.csv; fail "it does not learn where the spots are"; }
  checks=$((checks + 3))
done
same runs/acme.locate/cpu/weights/last.safetensors runs/acme.locate/far/weights/last.safetensors
# a transform that would move the pixels from under them is refused, before anything is read
printf '[augment]\nrandom_horizontal_flip = p=0.5\n' >>spots.ini
expect 2 "acme.spots" "$CVRUN" train spots.ini name=flipped
# gradients: a mask does what freezing does, to the bit; where every update is vetoed the weights stay as they were
recipe plain.ini
sed -i -e '/^b1 = /d' -e 's/^weight_decay = .*/weight_decay = 0/' plain.ini
"$CVRUN" train plain.ini name=frozen model.freeze=fc >log.txt 2>&1 && "$CVRUN" train plain.ini name=start train.epochs=0 >log.txt 2>&1 || { cat log.txt; fail "freezing"; }
for backend in cpu far reference; do
  "$CVRUN" train plain.ini name=masked-$backend backend.name=$backend train.acme_mask=fc. >log.txt 2>&1 || { cat log.txt; fail "a mask on $backend"; }
  grep -q 'acme.guard was built 0 times before' log.txt || { cat log.txt; fail "the guard was built before"; }
  "$CVRUN" train plain.ini name=vetoed-$backend backend.name=$backend train.acme_skip=1000 >log.txt 2>&1 || { cat log.txt; fail "a veto on $backend"; }
  same runs/classify/vetoed-$backend/weights/last.safetensors runs/classify/start/weights/last.safetensors
done
same runs/classify/masked-cpu/weights/last.safetensors runs/classify/frozen/weights/last.safetensors
same runs/classify/masked-far/weights/last.safetensors runs/classify/frozen/weights/last.safetensors
# what was vetoed does not count for Adam's bias correction: 4 steps of which 2 are vetoed are 2 steps, also when cut in two
adam=(data.size=8 val.interval=0 data.shuffle=no optim.name=adam optim.lr=0.01 sched.name=constant sched.warmup_epochs=0)
sed -e '/^d = /d' -e '/^random_/d' -e '/^\[augment/d' -e '/^momentum/d' plain.ini >adam.ini
"$CVRUN" train adam.ini name=two epochs=2 "${adam[@]}" >log.txt 2>&1 || { cat log.txt; fail "adam"; }
"$CVRUN" train adam.ini name=four epochs=4 train.acme_skip=2 "${adam[@]}" >log.txt 2>&1 || { cat log.txt; fail "adam with vetoes"; }
"$CVRUN" train adam.ini name=halves epochs=3 train.acme_skip=2 "${adam[@]}" >log.txt 2>&1
"$CVRUN" train --resume runs/classify/halves epochs=4 >log.txt 2>&1 || { cat log.txt; fail "adam with vetoes goes on"; }
same runs/classify/four/weights/last.safetensors runs/classify/two/weights/last.safetensors
same runs/classify/halves/weights/last.safetensors runs/classify/two/weights/last.safetensors
# what it keeps in the checkpoint is back when the run goes on
"$CVRUN" train --resume runs/classify/masked-cpu train.epochs=4 >log.txt 2>&1 || { cat log.txt; fail "going on"; }
grep -q 'acme.guard was built [1-9][0-9]* times before' log.txt || { cat log.txt; fail "the state is lost"; }
checks=$((checks + 1))
# an activation without a kernel, a program by its own word: it runs on every backend without falling back, becomes one op with the sum after it, and
# whether it does or not, the bits are the same
sed -e 's/^r1 = acme.swish.*/r1 = relu/' -e 's/^t = acme.twice/t = acme.mish\nu = add from=t,p1/' -e '/^last = /d' twice.ini >mish.ini
for backend in cpu far reference; do
  for passes in none fuse_elementwise; do
    "$CVRUN" train mish.ini name=mish-$passes-$backend backend.name=$backend backend.passes=$passes backend.fallback=error log.trace=$passes.json >log.txt 2>&1 ||
      { cat log.txt; fail "an activation without a kernel on $backend, passes $passes"; }
  done
  same runs/classify/mish-none-$backend/weights/last.safetensors runs/classify/mish-fuse_elementwise-$backend/weights/last.safetensors
done
grep -q "u/add" none.json || fail "no sum where nothing is fused"
grep -q '"op": "elementwise"' fuse_elementwise.json && ! grep -q "u/add" fuse_elementwise.json || fail "the sum after the activation is not part of it"
# lines with several outputs: halves that are added are the whole, folded; a wrong number of names is named
sed -e 's/^f = flatten/left, right = chunk 2 dim=1\ns = add from=left,right\nf = flatten/' -e '/^[tu] = /d' mish.ini >chunks.ini
"$CVRUN" train chunks.ini name=chunks >log.txt 2>&1 || { cat log.txt; fail "several outputs"; }
sed 's/^left, right/left, middle, right/' chunks.ini >three.ini
expect 2 "three.ini:$(grep -n '^left' three.ini | cut -d: -f1): layer left (chunk): 3 outputs wanted; it made 2" "$CVRUN" train three.ini
sed -e 's/^left, right/left/' -e 's/from=left,right/from=left,left/' chunks.ini >one.ini
expect 2 "2 outputs for 1 name" "$CVRUN" train one.ini
# a layer's width from outside of the model, also on the command line; a name that the network does not have
printf '[layers]\nc1 = out_channels=4\n' | cat mish.ini - >narrow.ini
"$CVRUN" info narrow.ini >info.txt && grep -q '^c1.* 4' info.txt || { cat info.txt; fail "[layers]"; }
"$CVRUN" info mish.ini layers.c1=out_channels=4 | diff - info.txt || fail "layers on the command line"
printf '[layers]\nc2 = out_channels=4\n' | cat mish.ini - >wrong.ini
expect 2 "wrong.ini:$(wc -l <wrong.ini): the network has no layer \`c2\`; did you mean \`c1\`?" "$CVRUN" train wrong.ini
# a pass that runs where it is named, with its settings, and adds an output: its node stays although nothing reads it
for passes in auto 'auto, acme.watch(limit=1)' 'acme.watch(op=linear limit=3), fuse_conv'; do
  "$CVRUN" train mish.ini name=watch "backend.passes=$passes" log.trace=watch.json >log.txt 2>&1 || { cat log.txt; fail "passes $passes"; }
  grep -o '"name": "[a-z0-9]*/mean"' watch.json | sort -u >watched.txt || true
  case $passes in auto) want= ;; *linear*) want=fc ;; *) want=c1 ;; esac
  [ "$(cat watched.txt)" = "${want:+\"name\": \"$want/mean\"}" ] || { cat watched.txt; fail "what is watched by $passes"; }
done
printf '[backend]\npasses = auto, acme.watch(limit=0)\n' | cat mish.ini - >wrong.ini
expect 2 "wrong.ini:$(wc -l <wrong.ini): limit is 0" "$CVRUN" train wrong.ini
expect 2 "has no closing bracket" "$CVRUN" train mish.ini "backend.passes=acme.watch(limit=1"
expect 2 "did you mean \`acme.watch\`" "$CVRUN" train mish.ini backend.passes=acme.wotch
# scenes of real pictures (Fashion-MNIST's): two targets with as many rows as there are objects, two results, and a transform of four samples
scene_recipe() { # scene_recipe TASK MODEL FIELDS TRANSFORM
  printf '%s\n' '[run]' "task = $1" 'seed = 5' '[model]' "name = $2" '[data]' 'format = scenes' "fields = $3" 'img_size = 32' 'objects = 1,3' \
    'item_scale = 0.4,0.6' 'train_size = 96' 'val_size = 32' '[augment]' "$4 =" '[train]' 'epochs = 6' 'batch = 16' '[optim]' 'name = adam' 'lr = 0.003'
}
if [ -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]; then
  scene_recipe acme.scene acme.scene_net boxes acme.mosaic >scene.ini
  scene_recipe classify resnet_cifar label acme.blend >blend.ini
  printf '[model]\ndepth = 8\nwidth = 4\n' >>blend.ini
  for backend in cpu far reference; do
    "$CVRUN" train scene.ini name=$backend backend.name=$backend >log.txt 2>&1 || { cat log.txt; fail "scenes on $backend"; }
    head -1 runs/acme.scene/$backend/steps.csv | grep -q '^step,epoch,loss,loss_what,loss_size,' || fail "the losses have no columns"
    awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "train_loss") c = i} NR == 2 {first = $c} END {exit !(c && $c < 0.9 * first)}' \
      runs/acme.scene/$backend/results.csv || { cat runs/acme.scene/$backend/results.csv; fail "scenes are not learned on $backend"; }
    "$CVRUN" train blend.ini name=$backend backend.name=$backend epochs=1 >log.txt 2>&1 || { cat log.txt; fail "mixed scenes on $backend"; }
    checks=$((checks + 3))
  done
  "$CVRUN" train scene.ini name=alone data.workers=0 >log.txt 2>&1 || { cat log.txt; fail "scenes without workers"; }
  same runs/acme.scene/cpu/weights/last.safetensors runs/acme.scene/far/weights/last.safetensors
  same runs/acme.scene/cpu/weights/last.safetensors runs/acme.scene/alone/weights/last.safetensors
  same runs/classify/cpu/weights/last.safetensors runs/classify/far/weights/last.safetensors
  # what a transform does not say that it moves is refused by name, before anything is trained
  expect 2 "acme.blend" "$CVRUN" train scene.ini name=refused augment.acme.blend=
else
  echo "left out: scenes, since dataset-fashion-mnist is not installed" | tee -a "${CVR_TEST_LEFT_OUT:-/dev/null}"
fi
# plugins that break the contract end in one line that names them and the place
recipe rude.ini
sed -i -e 's/^format = fake/format = acme.rude/' -e '/^size = /d' -e '/^classes = /d' -e '/^img_size = /d' -e '/^random_/d' rude.ini
rude() { expect 1 "$1" "$CVRUN" train rude.ini name=rude epochs=1 "${@:2}"; }
expect 0 "" "$CVRUN" train rude.ini name=polite epochs=1
rude 'rude-5: plugin com.acme.rude: callback `read` of dataset acme.rude failed with status 12345 and no message' data.mode=silent
rude 'rude-5: a field `` that no sample can have' data.mode=nameless
rude 'rude-5: a field `label` that no sample can have' data.mode=twice
rude 'rude-5: acme.rude: it left field 0 (`image`)' 'data.mode=no pixels'
rude 'acme.rude says that it has 9223372036854775807 pictures' data.mode=count
rude 'dataset acme.rude has no name for class 0 of 2' data.mode=class
expect 0 "" "$CVRUN" train rude.ini name=kinds epochs=1 data.mode=kinds
for mode in silent shape kind fields; do rude 'acme.rude' "augment.acme.rude=mode=$mode"; done
for mode in silent enter order drop drops cycle; do rude 'pass acme.rude' "backend.passes=auto, acme.rude(mode=$mode)"; done
for mode in silent nameless taken; do rude 'acme.rude' train.acme_rude=$mode; done
done_with consumer_test
