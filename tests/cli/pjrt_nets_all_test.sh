#!/usr/bin/env bash
# With --all: networks on a PJRT plugin of XLA's beside the CPU, nothing left to the host: pjrt_nets_all_test [NETWORK...].
device=pjrt
. "$(dirname "$0")/detect_nets.sh"
plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "networks on a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  exit 77
fi
on=("backend.plugin=$plugin")
export XDG_CACHE_HOME=$work/cache

# net NAME TASK STEPS RECIPE-or-MODEL KEY=VALUE...: so many steps of 4 pictures of 32 pixels on both, whose losses agree to 1e-3
net() {
  local name=$1 task=$2 steps=$3 what=$4 backend; shift 4
  local small=(data.format=fake "data.size=$((4 * steps))" data.classes=5 data.img_size=32 batch=4 epochs=1 "run.task=$task" seed=5 val.interval=0 data.drop_last=yes
    optim.name=sgd optim.lr=0.001)
  for backend in cpu pjrt; do
    "$CVRUN" train "$what" "${small[@]}" "${on[@]}" "name=$name-$backend" backend.name=$backend backend.fallback=error "$@" >log.txt 2>&1 || { cat log.txt; fail "$name on $backend"; }
  done
  same_losses "runs/$task/$name-cpu" "runs/$task/$name-pjrt" 1e-3 "$steps"
}
[ $# -gt 0 ] || set -- demo resnet18 unet vit "${detectors[@]}"
for name; do
  case $name in
    demo) net demo classify 40 "$here/../../apps/recipes/fashion-mnist.ini" data.img_size=28 data.classes=10 ;;
    # of 32 pixels its last batch norms see four numbers a channel, and two instruction sets of the CPU part in the third step; so they do with larger steps
    resnet18) net resnet18 classify 32 model=resnet18 data.img_size=64 optim.lr=0.00002 ;;
    unet) net unet segment 32 model=unet model.width=16 data.masks=yes ;;
    vit) net vit classify 32 model=vit_b_16 model.num_layers=3 model.hidden_dim=96 model.num_heads=3 model.mlp_dim=192 ;;
    *) detector "$name" ;;
  esac
done
done_with pjrt_nets_all_test
