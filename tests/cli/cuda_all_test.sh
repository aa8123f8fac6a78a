#!/usr/bin/env bash
# The backend `cuda` with a stand-in for NVIDIA's driver: networks of other kinds have emu's losses to the digit, and every op conforms.
. "$(dirname "$0")/emu_nets.sh"
export LD_LIBRARY_PATH=$BUILD_DIR/lib/cvrun-cuda

# as_emu NAME train's words...
as_emu() {
  local name=$1 backend folder keys; shift
  for backend in emu cuda; do
    keys=; [ $backend = emu ] || keys=backend.cuda_libraries=no
    "$CVRUN" train "$@" name=$name-$backend backend.name=$backend $keys backend.fallback=error >log.txt 2>&1 || { cat log.txt; fail "$name on $backend"; }
  done
  folder=$(dirname runs/*/$name-emu)
  same <(cut -d, -f1-3 "$folder/$name-cuda/steps.csv") <(cut -d, -f1-3 "$folder/$name-emu/steps.csv")
}
as_emu resnet18 model=resnet18 $small data.classes=3 data.size=40 batch=8 optim.lr=1e-5
as_emu unet model=unet model.width=8 model.depth=3 run.task=segment data.masks=yes $small data.classes=3 data.size=10 batch=2 optim.lr=0.001
as_emu vit model=vit_b_16 model.patch_size=4 model.num_layers=2 model.num_heads=2 model.hidden_dim=32 model.mlp_dim=64 $small data.classes=3 \
  data.size=10 batch=2 optim.lr=0.001
as_emu detector "$recipes/yolov3-tiny-scenes.ini" epochs=1 val.interval=0 run.project=runs backend.precision=f32 data.img_size=32 data.train_size=10 \
  data.val_size=2 data.objects=1,2 data.item_scale=0.5,0.5 train.ema=no batch=2 optim.lr=1e-5
# libraries that are there, but find no GPU, are said to be so, and change nothing
train_all=(small.ini epochs=1 val.interval=0)
recipe small.ini
for libraries in no yes; do
  "$CVRUN" train "${train_all[@]}" name=libraries-$libraries backend.name=cuda backend.cuda_libraries=$libraries >log-$libraries.txt 2>&1 || { cat log-$libraries.txt; fail "with cuda_libraries=$libraries"; }
done
same runs/classify/libraries-yes/weights/last.safetensors runs/classify/libraries-no/weights/last.safetensors
"$CVRUN" conform --backend cuda backend.cuda_libraries=no cuda_check=yes --draws 1 --seconds 3000 >out.txt 2>&1 || { cat out.txt; fail "an op does not conform"; }
grep -q ' 0 left to the host, 0 that no case reached$' out.txt || { cat out.txt; fail "an op was left to the host, or no case reached it"; }
checks=$((checks + 1))
done_with cuda_all_test
